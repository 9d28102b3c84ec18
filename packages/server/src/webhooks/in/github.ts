/**
 * GitHub's webhooks: docs.github.com, "Validating webhook deliveries" and "Webhook events and payloads". `create` and `delete` are
 * ignored: a push says the same of a tag, with its commit.
 */
import { Type } from "typebox";
import { header, sha256Header, verifyBody } from "./delivery.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Count, Name, payload, Sha, Url } from "./payload.ts";

const Repository = Type.Object({ full_name: Name, clone_url: Url });
const Paths = Type.Array(Type.String({ maxLength: 4096 }));

const Push = Type.Object({
  ref: Name,
  before: Sha,
  after: Sha,
  forced: Type.Boolean(),
  repository: Repository,
  pusher: Type.Object({ name: Name }),
  head_commit: Type.Union([Type.Object({ id: Sha }), Type.Null()]),
  commits: Type.Array(
    Type.Object({
      added: Type.Optional(Paths),
      modified: Type.Optional(Paths),
      removed: Type.Optional(Paths),
    }),
  ),
});

const PullRequest = Type.Object({
  action: Name,
  number: Count,
  before: Type.Optional(Sha),
  pull_request: Type.Object({
    // The repository is null where a fork was deleted.
    head: Type.Object({ ref: Name, sha: Sha, repo: Type.Union([Repository, Type.Null()]) }),
    base: Type.Object({ ref: Name }),
  }),
  repository: Repository,
  sender: Type.Object({ login: Name }),
});

/** More commits than this are not listed. */
const maxCommits = 2048;

const actions: Record<string, "opened" | "updated" | "closed" | undefined> = {
  opened: "opened",
  reopened: "opened",
  synchronize: "updated",
  closed: "closed",
};

export const github: Forge = {
  verify: (body, headers, secrets) => verifyBody(body, sha256Header(headers, "x-hub-signature-256"), secrets),

  parse(body, headers) {
    switch (header(headers, "x-github-event")) {
      case "push":
        return pushed(body);
      case "pull_request":
        return requested(body);
      default:
        return [];
    }
  },
};

function pushed(body: Uint8Array): ReturnType<Forge["parse"]> {
  const push = payload(Push, body);
  const event = refEvent({
    repository: { name: push.repository.full_name, url: push.repository.clone_url },
    author: push.pusher.name,
    ref: push.ref,
    before: push.before,
    // Of an annotated tag, `after` is the tag's own object.
    after: push.ref.startsWith("refs/tags/") ? (push.head_commit?.id ?? push.after) : push.after,
  });
  if (event === undefined) return [];
  const whole = !push.forced && push.commits.length > 0 && push.commits.length < maxCommits;
  if (event.type === "tag" || event.before === undefined || !whole) return [event];
  const touched = push.commits.flatMap(({ added = [], modified = [], removed = [] }) =>
    added.concat(modified, removed),
  );
  return [{ ...event, paths: [...new Set(touched)].sort() }];
}

function requested(body: Uint8Array): ReturnType<Forge["parse"]> {
  const event = payload(PullRequest, body);
  const action = Object.hasOwn(actions, event.action) ? actions[event.action] : undefined;
  if (action === undefined) return [];
  const { head, base } = event.pull_request;
  return [
    {
      type: "pull-request",
      action,
      repository: { name: event.repository.full_name, url: event.repository.clone_url },
      author: event.sender.login,
      number: event.number,
      branch: head.ref,
      commit: head.sha,
      ...(event.before === undefined ? {} : { before: event.before }),
      target: base.ref,
      fork: head.repo?.full_name !== event.repository.full_name,
    },
  ];
}
