/**
 * The webhooks of Bitbucket Cloud: support.atlassian.com, "Manage webhooks" and "Event payloads". Their commits of pull requests
 * are shortened to twelve digits, which git understands.
 */
import { Type } from "typebox";
import { header, sha256Header, verifyBody } from "./delivery.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Count, Name, payload, Sha, Url } from "./payload.ts";

const Repository = Type.Object({
  uuid: Name,
  full_name: Name,
  links: Type.Object({ html: Type.Object({ href: Url }) }),
});
const Actor = Type.Object({ display_name: Name, nickname: Type.Optional(Name) });
const Ref = Type.Union([
  Type.Object({ type: Name, name: Name, target: Type.Object({ hash: Sha }) }),
  Type.Null(),
]);

const Push = Type.Object({
  actor: Actor,
  repository: Repository,
  push: Type.Object({ changes: Type.Array(Type.Object({ old: Ref, new: Ref })) }),
});

const PullRequest = Type.Object({
  actor: Actor,
  repository: Repository,
  pullrequest: Type.Object({
    id: Count,
    source: Type.Object({
      branch: Type.Object({ name: Name }),
      commit: Type.Object({ hash: Type.String({ pattern: "^[0-9a-f]{12,64}$" }) }),
      // Null where a fork was deleted.
      repository: Type.Union([Type.Object({ uuid: Name }), Type.Null()]),
    }),
    destination: Type.Object({ branch: Type.Object({ name: Name }) }),
  }),
});

const actions: Record<string, "opened" | "updated" | "closed" | undefined> = {
  "pullrequest:created": "opened",
  "pullrequest:updated": "updated",
  "pullrequest:fulfilled": "closed",
  "pullrequest:rejected": "closed",
};

export const bitbucket: Forge = {
  verify(body, headers, secrets) {
    verifyBody(body, sha256Header(headers, "x-hub-signature"), secrets);
    // The body of a push has no time: a branch that went back and forth sends the same twice.
    return header(headers, "x-request-uuid");
  },

  parse(body, headers) {
    const key = header(headers, "x-event-key");
    if (key === "repo:push") return pushed(body);
    const action = Object.hasOwn(actions, key) ? actions[key] : undefined;
    return action === undefined ? [] : requested(body, action);
  },
};

function nameAndUrl({ full_name, links }: { full_name: string; links: { html: { href: string } } }) {
  return { name: full_name, url: `${links.html.href}.git` };
}

function pushed(body: Uint8Array): ReturnType<Forge["parse"]> {
  const { actor, repository, push } = payload(Push, body);
  return push.changes
    .map((change) => {
      const { type, name } = change.new ?? change.old ?? { type: "none", name: "" };
      const kind = type === "branch" ? "heads" : type === "tag" ? "tags" : type;
      return refEvent({
        repository: nameAndUrl(repository),
        author: actor.nickname ?? actor.display_name,
        ref: `refs/${kind}/${name}`,
        before: change.old?.target.hash,
        after: change.new?.target.hash,
      });
    })
    .filter((event) => event !== undefined);
}

function requested(body: Uint8Array, action: "opened" | "updated" | "closed"): ReturnType<Forge["parse"]> {
  const { actor, repository, pullrequest } = payload(PullRequest, body);
  const { id, source, destination } = pullrequest;
  return [
    {
      type: "pull-request",
      action,
      repository: nameAndUrl(repository),
      author: actor.nickname ?? actor.display_name,
      number: id,
      branch: source.branch.name,
      commit: source.commit.hash,
      target: destination.branch.name,
      fork: source.repository?.uuid !== repository.uuid,
    },
  ];
}
