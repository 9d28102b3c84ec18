/**
 * The webhooks of Gitea and Forgejo: docs.gitea.com, "Webhooks". Forgejo sends the same under its own header names beside
 * Gitea's. A push says what `create` and `delete` say of a tag.
 */
import { Type } from "typebox";
import { header, verifyBody } from "./delivery.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Count, Name, payload, Sha, Url } from "./payload.ts";

const Repository = Type.Object({ id: Count, full_name: Name, clone_url: Url });
const User = Type.Object({ login: Name });

const Push = Type.Object({ ref: Name, before: Sha, after: Sha, repository: Repository, pusher: User });

const PullRequest = Type.Object({
  action: Name,
  number: Count,
  pull_request: Type.Object({
    // The repository is null where a fork was deleted.
    head: Type.Object({ ref: Name, sha: Sha, repo: Type.Union([Type.Object({ id: Count }), Type.Null()]) }),
    base: Type.Object({ ref: Name }),
  }),
  repository: Repository,
  sender: User,
});

const actions: Record<string, "opened" | "updated" | "closed" | undefined> = {
  opened: "opened",
  reopened: "opened",
  synchronized: "updated",
  closed: "closed",
};

export const gitea: Forge = {
  verify: (body, headers, secrets) => verifyBody(body, header(headers, "x-gitea-signature"), secrets),

  parse(body, headers) {
    switch (header(headers, "x-gitea-event")) {
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
  const { ref, before, after, repository, pusher } = payload(Push, body);
  const event = refEvent({
    repository: { name: repository.full_name, url: repository.clone_url },
    author: pusher.login,
    ref,
    before,
    after,
  });
  return event === undefined ? [] : [event];
}

function requested(body: Uint8Array): ReturnType<Forge["parse"]> {
  const { action: said, number, pull_request, repository, sender } = payload(PullRequest, body);
  const action = Object.hasOwn(actions, said) ? actions[said] : undefined;
  if (action === undefined) return [];
  const { head, base } = pull_request;
  return [
    {
      type: "pull-request",
      action,
      repository: { name: repository.full_name, url: repository.clone_url },
      author: sender.login,
      number,
      branch: head.ref,
      commit: head.sha,
      target: base.ref,
      fork: head.repo?.id !== repository.id,
    },
  ];
}
