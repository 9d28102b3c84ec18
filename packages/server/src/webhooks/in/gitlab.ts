/**
 * GitLab's webhooks: docs.gitlab.com, "Webhooks" and "Webhook events". With a signing token (`whsec_…`) they carry the signature of
 * Standard Webhooks; with a secret token alone, that token as it is.
 */
import { createHash } from "node:crypto";
import { Type } from "typebox";
import { verifySigned } from "../standard-webhooks.ts";
import { equal, header, Refusal } from "./delivery.ts";
import { refEvent } from "./event.ts";
import type { Forge } from "./forge.ts";
import { Count, Name, payload, Sha, Url } from "./payload.ts";

const Project = Type.Object({ id: Count, path_with_namespace: Name, git_http_url: Url });

const Push = Type.Object({
  ref: Name,
  before: Sha,
  after: Sha,
  /** The commit of an annotated tag; null where the ref was deleted. */
  checkout_sha: Type.Union([Sha, Type.Null()]),
  user_username: Name,
  project: Project,
});

const MergeRequest = Type.Object({
  user: Type.Object({ username: Name }),
  project: Project,
  object_attributes: Type.Object({
    iid: Count,
    // Of some changes that nobody made, there is none.
    action: Type.Optional(Name),
    /** The commit before, where commits were pushed; other updates have none. */
    oldrev: Type.Optional(Sha),
    source_branch: Name,
    target_branch: Name,
    source_project_id: Type.Union([Count, Type.Null()]),
    target_project_id: Count,
    last_commit: Type.Object({ id: Sha }),
  }),
});

export const gitlab: Forge = {
  verify(body, headers, secrets, now) {
    const signing = secrets.some((secret) => secret.startsWith("whsec_"));
    if (signing && headers["webhook-signature"] !== undefined) {
      return verifySigned(body, headers, secrets, now);
    }
    const given = digest(header(headers, "x-gitlab-token"));
    // A signing token is never sent: who sends one as a token has taken it from somewhere else.
    const tokens = secrets.filter((secret) => !secret.startsWith("whsec_"));
    const matches = tokens.map((token) => equal(digest(token), given));
    if (!matches.includes(true)) throw new Refusal("its X-Gitlab-Token is none of the webhook's secrets");
    // The idempotency key is newer; event UUIDs are shared by the events that one event leads to.
    return header(
      headers,
      headers["idempotency-key"] === undefined ? "x-gitlab-event-uuid" : "idempotency-key",
    );
  },

  parse(body, headers) {
    switch (header(headers, "x-gitlab-event")) {
      case "Push Hook":
      case "Tag Push Hook":
        return pushed(body);
      case "Merge Request Hook":
        return requested(body);
      default:
        return [];
    }
  },
};

/** Of one length, so that comparing does not tell how long the secret is. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function pushed(body: Uint8Array): ReturnType<Forge["parse"]> {
  const { ref, before, after, checkout_sha, user_username, project } = payload(Push, body);
  const event = refEvent({
    repository: { name: project.path_with_namespace, url: project.git_http_url },
    author: user_username,
    ref,
    before,
    after: checkout_sha ?? after,
  });
  return event === undefined ? [] : [event];
}

function requested(body: Uint8Array): ReturnType<Forge["parse"]> {
  const { user, project, object_attributes: request } = payload(MergeRequest, body);
  const action = actionOf(request.action, request.oldrev);
  if (action === undefined) return [];
  return [
    {
      type: "pull-request",
      action,
      repository: { name: project.path_with_namespace, url: project.git_http_url },
      author: user.username,
      number: request.iid,
      branch: request.source_branch,
      commit: request.last_commit.id,
      ...(request.oldrev === undefined ? {} : { before: request.oldrev }),
      target: request.target_branch,
      fork: request.source_project_id !== request.target_project_id,
    },
  ];
}

/** An update without commits changed a title or a label. */
function actionOf(action: string | undefined, oldrev: string | undefined) {
  if (action === "open" || action === "reopen") return "opened";
  if (action === "close" || action === "merge") return "closed";
  return action === "update" && oldrev !== undefined ? "updated" : undefined;
}
