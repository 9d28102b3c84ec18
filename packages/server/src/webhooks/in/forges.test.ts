import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ForgeName, forgeNames } from "@kws/api/webhooks";
import { UserError } from "@kws/base/errors";
import { describe, expect, test } from "vitest";
import { signedHeaders } from "../standard-webhooks.ts";
import { type Headers, Refusal } from "./delivery.ts";
import { forges } from "./forges.ts";

const now = Date.parse("2026-09-21T10:00:01Z");
const [before, commit] = ["a1".repeat(20), "b2".repeat(20)];
const signing = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const otherSigning = `whsec_${Buffer.alloc(32, 8).toString("base64")}`;

const hmac = (body: Uint8Array, secret: string) => createHmac("sha256", secret).update(body).digest("hex");

interface Sender {
  secret: string;
  other: string;
  /** The headers that the forge sends with a body. */
  send: (body: Uint8Array, event: string, secret: string) => Headers;
  /** What the forge calls a push, a tag, a pull request that was updated and one that was opened. */
  events: { push: string; tag: string; updated?: string; opened?: string };
}

const plain = { secret: "a long secret", other: "another secret" };
const senders: Record<ForgeName, Sender> = {
  github: {
    ...plain,
    send: (body, event, secret) => ({
      "x-github-event": event,
      "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
      "x-hub-signature-256": `sha256=${hmac(body, secret)}`,
    }),
    events: { push: "push", tag: "push", updated: "pull_request", opened: "pull_request" },
  },
  gitlab: {
    ...plain,
    send: (_body, event, secret) => ({
      "x-gitlab-event": event,
      "x-gitlab-event-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e",
      "x-gitlab-token": secret,
    }),
    events: {
      push: "Push Hook",
      tag: "Tag Push Hook",
      updated: "Merge Request Hook",
      opened: "Merge Request Hook",
    },
  },
  bitbucket: {
    ...plain,
    send: (body, event, secret) => ({
      "x-event-key": event,
      "x-request-uuid": "e2f1a3d0-30a1-4d0e-8d73-2a6f0d0c1b55",
      "x-hub-signature": `sha256=${hmac(body, secret)}`,
    }),
    events: {
      push: "repo:push",
      tag: "repo:push",
      updated: "pullrequest:updated",
      opened: "pullrequest:created",
    },
  },
  "bitbucket-server": {
    ...plain,
    send: (body, event, secret) => ({
      "x-event-key": event,
      "x-request-id": "8f0e5c4d-9a0b-4d55-b26f-6a1df5a3b7c1",
      "x-hub-signature": `sha256=${hmac(body, secret)}`,
    }),
    events: {
      push: "repo:refs_changed",
      tag: "repo:refs_changed",
      updated: "pr:from_ref_updated",
      opened: "pr:opened",
    },
  },
  gitea: {
    ...plain,
    send: (body, event, secret) => ({
      "x-gitea-event": event,
      "x-gitea-delivery": "f6266f16-1bf3-46a5-9ea4-602e06ead473",
      "x-gitea-signature": hmac(body, secret),
      "x-hub-signature-256": `sha256=${hmac(body, secret)}`,
    }),
    events: { push: "push", tag: "push", updated: "pull_request", opened: "pull_request" },
  },
  git: {
    secret: signing,
    other: otherSigning,
    send: (body, _event, secret) => signedHeaders("msg_1", now, body, secret),
    events: { push: "", tag: "" },
  },
};

const fixture = (forge: ForgeName, name: string) =>
  readFileSync(join(import.meta.dirname, "testdata", forge, `${name}.json`));
const repository = { name: "acme/shop", url: "https://git.example.com/acme/shop.git" };

describe.each(forgeNames)("%s", (name) => {
  const forge = forges[name];
  const { secret, other, send, events } = senders[name];
  const parse = (file: string, event: string) => {
    const body = fixture(name, file);
    return forge.parse(body, send(body, event, secret));
  };

  test("a delivery is taken with any of the secrets, and knows itself when it comes again", () => {
    const body = fixture(name, "push");
    const headers = send(body, events.push, secret);
    const id = forge.verify(body, headers, [secret], now);
    expect(id).not.toBe("");
    expect(forge.verify(body, headers, [other, secret], now)).toBe(id);
  });

  test("a delivery of somebody else is refused, and the refusal names no secret", () => {
    const body = fixture(name, "push");
    const headers = send(body, events.push, other);
    let refusal: unknown;
    try {
      forge.verify(body, headers, [secret], now);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(Refusal);
    expect(JSON.stringify([String(refusal), refusal])).not.toContain(secret);
    expect(() => forge.verify(body, headers, [], now)).toThrow(Refusal);
    expect(() => forge.verify(body, {}, [secret], now)).toThrow(Refusal);
  });

  test.skipIf(name === "gitlab")("a changed byte of the body is refused", () => {
    const body = fixture(name, "push");
    const headers = send(body, events.push, secret);
    const changed = Buffer.from(body);
    changed[changed.length - 2] = 0x20;
    expect(() => forge.verify(changed, headers, [secret], now)).toThrow(Refusal);
  });

  test("a push says which branch went from which commit to which", () => {
    const [event, ...others] = parse("push", events.push);
    expect(others).toEqual([]);
    expect(event).toMatchObject({ type: "push", repository, author: "mira", branch: "main", before, commit });
  });

  test("a new tag has no commit before, and the commit that it stands for", () => {
    expect(parse("tag", events.tag)).toEqual([
      { type: "tag", repository, author: "mira", tag: "v1.2.0", commit },
    ]);
  });

  test("a deleted branch has a commit before alone", () => {
    expect(parse("branch-deleted", events.push)).toEqual([
      { type: "push", repository, author: "mira", branch: "old", before },
    ]);
  });

  test.runIf(events.updated !== undefined)("a pull request of the repository's own is trusted", () => {
    const [event] = parse("pull-request", events.updated ?? "");
    expect(event).toMatchObject({
      type: "pull-request",
      action: "updated",
      repository,
      author: "mira",
      number: 12,
      branch: "prices",
      target: "main",
      fork: false,
    });
    expect(event?.commit).toSatisfy((sha: string) => commit.startsWith(sha) && sha.length >= 12);
  });

  test.runIf(events.opened !== undefined)("a pull request of another repository is a fork's", () => {
    expect(parse("fork", events.opened ?? "")).toMatchObject([
      { type: "pull-request", action: "opened", author: "lou", number: 13, branch: "main", fork: true },
    ]);
  });

  test("a body of another shape is refused as the sender's fault", () => {
    for (const text of ["", "null", "[]", "{}", '{"ref": 7}', '"push"', "{"]) {
      const body = Buffer.from(text);
      expect(() => forge.parse(body, send(body, events.push, secret)), text).toThrow(UserError);
    }
  });

  test.skipIf(name === "git")("an event that no pipeline runs for is nothing, whatever its body", () => {
    const body = Buffer.from("{}");
    for (const event of ["ping", "issues", "constructor", "__proto__", "diagnostics:ping"]) {
      expect(forge.parse(body, send(body, event, secret)), event).toEqual([]);
    }
  });
});

describe("github", () => {
  const parse = (change: object) => {
    const body = Buffer.from(
      JSON.stringify({ ...JSON.parse(fixture("github", "push").toString()), ...change }),
    );
    return forges.github.parse(body, senders.github.send(body, "push", "secret"))[0];
  };

  test("the paths of a push are those of all of its commits", () => {
    expect(parse({})).toHaveProperty("paths", [
      "services/cart/cart.ts",
      "services/cart/old.ts",
      "services/cart/price.ts",
    ]);
  });

  test("no paths are told where the payload does not hold them all", () => {
    const commits = Array.from({ length: 2048 }, () => ({ added: ["a"], modified: [], removed: [] }));
    for (const change of [{ forced: true }, { before: "0".repeat(40) }, { commits }, { commits: [] }]) {
      expect(parse(change)).not.toHaveProperty("paths");
    }
  });
});

describe("gitlab", () => {
  const body = fixture("gitlab", "push");
  const headers = { "x-gitlab-event": "Push Hook", ...signedHeaders("key-1", now, body, signing) };

  test("a signing token is verified as a signature with its age", () => {
    expect(forges.gitlab.verify(body, headers, [signing], now)).toBe("key-1");
    expect(() => forges.gitlab.verify(body, headers, [signing], now + 301_000)).toThrow("five minutes");
    expect(() => forges.gitlab.verify(body, headers, [signing], now - 301_000)).toThrow("five minutes");
    expect(() => forges.gitlab.verify(body, headers, [otherSigning], now)).toThrow(Refusal);
  });

  test("a signing token that is sent as it is proves nothing", () => {
    const stolen = { "x-gitlab-event-uuid": "1", "x-gitlab-token": signing };
    expect(() => forges.gitlab.verify(body, stolen, [signing], now)).toThrow(Refusal);
  });

  test("a signature that is wrong is not mended by a token that is right", () => {
    const both = { ...headers, "x-gitlab-token": "token", "x-gitlab-event-uuid": "1" };
    expect(() => forges.gitlab.verify(body, both, [otherSigning, "token"], now)).toThrow(Refusal);
  });

  test("a merge request whose title changed is nothing", () => {
    const renamed = fixture("gitlab", "renamed");
    expect(forges.gitlab.parse(renamed, { "x-gitlab-event": "Merge Request Hook" })).toEqual([]);
  });
});
