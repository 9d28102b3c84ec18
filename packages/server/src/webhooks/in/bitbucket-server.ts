/** The webhooks of Bitbucket Data Center and Server: confluence.atlassian.com, "Event payload". */
import { type Static, Type } from "typebox";
import { header, sha256Header, verifyBody } from "./delivery.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Count, Name, payload, Sha, Url } from "./payload.ts";

const Repository = Type.Object({
  id: Count,
  slug: Name,
  project: Type.Object({ key: Name }),
  // Only where links are sent: versions before 7 leave them out.
  links: Type.Optional(
    Type.Object({ clone: Type.Optional(Type.Array(Type.Object({ name: Name, href: Url }))) }),
  ),
});
const Actor = Type.Object({ name: Name });

const Push = Type.Object({
  actor: Actor,
  repository: Repository,
  changes: Type.Array(
    Type.Object({ ref: Type.Object({ id: Name }), fromHash: Sha, toHash: Sha, type: Name }),
  ),
});

const Ref = Type.Object({ displayId: Name, latestCommit: Sha, repository: Repository });
const PullRequest = Type.Object({
  actor: Actor,
  previousFromHash: Type.Optional(Sha),
  pullRequest: Type.Object({ id: Count, fromRef: Ref, toRef: Ref }),
});

const actions: Record<string, "opened" | "updated" | "closed" | undefined> = {
  "pr:opened": "opened",
  "pr:from_ref_updated": "updated",
  "pr:merged": "closed",
  "pr:declined": "closed",
  "pr:deleted": "closed",
};

export const bitbucketServer: Forge = {
  verify: (body, headers, secrets) => verifyBody(body, sha256Header(headers, "x-hub-signature"), secrets),

  parse(body, headers) {
    const key = header(headers, "x-event-key");
    if (key === "repo:refs_changed") return pushed(body);
    const action = Object.hasOwn(actions, key) ? actions[key] : undefined;
    return action === undefined ? [] : requested(body, action);
  },
};

function nameAndUrl({ project, slug, links }: Static<typeof Repository>) {
  const clone = links?.clone?.find(({ name }) => name === "http" || name === "https");
  const name = `${project.key}/${slug}`;
  return { name, url: clone?.href ?? name };
}

function pushed(body: Uint8Array): ReturnType<Forge["parse"]> {
  const { actor, repository, changes } = payload(Push, body);
  return changes
    .map(({ ref, fromHash, toHash }) =>
      refEvent({
        repository: nameAndUrl(repository),
        author: actor.name,
        ref: ref.id,
        before: fromHash,
        after: toHash,
      }),
    )
    .filter((event) => event !== undefined);
}

function requested(body: Uint8Array, action: "opened" | "updated" | "closed"): ReturnType<Forge["parse"]> {
  const { actor, previousFromHash, pullRequest } = payload(PullRequest, body);
  const { id, fromRef, toRef } = pullRequest;
  return [
    {
      type: "pull-request",
      action,
      repository: nameAndUrl(toRef.repository),
      author: actor.name,
      number: id,
      branch: fromRef.displayId,
      commit: fromRef.latestCommit,
      ...(previousFromHash === undefined ? {} : { before: previousFromHash }),
      target: toRef.displayId,
      fork: fromRef.repository.id !== toRef.repository.id,
    },
  ];
}
