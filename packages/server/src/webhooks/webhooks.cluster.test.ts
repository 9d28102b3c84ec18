/** Webhooks in and notifications out, through a whole server on a real PostgreSQL. */
import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import * as notifications from "@kws/api/notifications";
import { setPoll } from "@kws/api/polls";
import { addRepository, getRepository } from "@kws/api/repositories";
import { listRuns } from "@kws/api/runs";
import * as webhooks from "@kws/api/webhooks";
import { run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type TestServer, testServer } from "../testing/server.ts";
import type { Notification } from "./out/notification.ts";
import { notify } from "./out/notify.ts";
import { signedHeaders, verifySigned } from "./standard-webhooks.ts";

const shop = "https://git.example.com/acme/shop.git";
let server: TestServer;

beforeAll(async () => {
  // Runs stay in the queue: what they do is not asked here.
  const settings = { concurrentRuns: 0, allowedNetworks: "127.0.0.0/8", smtpUrl: "smtp://127.0.0.1:1" };
  server = await testServer(settings);
});
afterAll(() => server[Symbol.asyncDispose]());

/** The value as soon as it is one; tests end by their own time limit. */
async function eventually<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await pause(20);
  }
}

const push = readFileSync(join(import.meta.dirname, "in/testdata/github/push.json"));
const signed = (body: Uint8Array, secret: string, event = "push") => ({
  "content-type": "application/json",
  "x-github-event": event,
  "x-github-delivery": randomUUID(),
  "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
});
const numbered = (count: number) =>
  Buffer.from(JSON.stringify({ ...(JSON.parse(push.toString()) as object), count }));

async function add(forge: webhooks.ForgeName, scope: string) {
  const name = `w${randomUUID()}`;
  return server.client.call(webhooks.addWebhook, { body: { name, forge, scope } });
}
const github = (scope = shop) => add("github", scope);

async function post(path: string, body: Uint8Array, headers: Record<string, string>) {
  const init = { method: "POST", body: Buffer.from(body), headers };
  const response = await fetch(`${server.url}${path}`, init);
  return { status: response.status, body: await response.json() };
}
const deliveriesOf = (name: string) =>
  Array.fromAsync(server.client.all(webhooks.listWebhookDeliveries, { params: { name } }));

describe("webhooks", () => {
  test("a secret is shown once and nowhere in the database", async () => {
    const { secret, ...webhook } = await github("git@git.example.com:acme/*");
    const rows = await server.db.selectFrom("webhooks").selectAll().execute();
    const audited = await server.db.selectFrom("audit").selectAll().execute();
    expect(JSON.stringify([rows, audited])).not.toContain(secret);
    expect(audited).toContainEqual(expect.objectContaining({ action: "webhook.add", subject: webhook.name }));
    expect(webhook).toMatchObject({ forge: "github", scope: "https://git.example.com/acme/*" });
    const shown = await Array.fromAsync(server.client.all(webhooks.listWebhooks));
    expect(shown).toContainEqual(webhook);
  });

  test("a name is there once, a short secret is refused, and what is gone is gone", async () => {
    const { name, path } = await github();
    const again = { name, forge: "gitea", scope: shop } as const;
    const call = (body: webhooks.NewWebhook) => server.client.call(webhooks.addWebhook, { body });
    await expect(call(again)).rejects.toMatchObject({ reason: "conflict" });
    await expect(call({ ...again, name: "short", secret: "hunter2" })).rejects.toThrow("shorter than 16");
    const params = { name };
    await server.client.call(webhooks.removeWebhook, { params });
    const gone = server.client.call(webhooks.removeWebhook, { params });
    await expect(gone).rejects.toMatchObject({ reason: "not-found" });
    expect((await post(path, push, signed(push, "any"))).status).toBe(404);
  });
});

describe("deliveries", () => {
  test("one is written down as its events and handled; the same again is known, also under another id", async () => {
    const { name, path, secret } = await github();
    expect(await post(path, push, signed(push, secret))).toEqual({ status: 202, body: { events: 1 } });
    expect(await post(path, push, signed(push, secret))).toMatchObject({ body: { events: 0 } });
    const [delivery] = await eventually(async () => {
      const found = await deliveriesOf(name);
      return found[0]?.handledAt !== undefined && found;
    });
    expect(delivery).toMatchObject({ events: ["push main"] });
    expect(await deliveriesOf(name)).toHaveLength(1);
    const told = await (await fetch(`${server.url}/metrics`)).text();
    expect(told).toMatch(/kws_server_webhook_deliveries_total\{forge="github",result="known"\} [1-9]/);
  });

  test("a ping is accepted, shows that the forge arrives, and leads to nothing", async () => {
    const { name, path, secret } = await github();
    const ping = readFileSync(join(import.meta.dirname, "in/testdata/github/ping.json"));
    expect((await post(path, ping, signed(ping, secret, "ping"))).status).toBe(202);
    expect(await deliveriesOf(name)).toMatchObject([{ events: [], handledAt: expect.any(String) }]);
    const shown = await Array.fromAsync(server.client.all(webhooks.listWebhooks));
    expect(shown.find((webhook) => webhook.name === name)).toHaveProperty("lastDeliveryAt");
  });

  test("what is not signed, not JSON, or of another repository is refused, and nothing of it is kept", async () => {
    const { name, path, secret } = await github();
    const other = await github("https://git.example.com/lou/*");
    expect((await post(path, push, signed(push, "another secret"))).status).toBe(403);
    const unknown = await post(`/webhooks/${randomUUID()}`, push, signed(push, secret));
    expect(unknown).toMatchObject({ status: 404, body: { code: "not-found" } });
    expect((await post("/webhooks/1'%20OR%201=1", push, signed(push, secret))).status).toBe(404);
    expect((await post(other.path, push, signed(push, other.secret))).status).toBe(403);
    const broken = Buffer.from("{");
    expect((await post(path, broken, signed(broken, secret))).status).toBe(400);
    const form = { ...signed(push, secret), "content-type": "application/x-www-form-urlencoded" };
    expect((await post(path, push, form)).status).toBe(400);
    expect([...(await deliveriesOf(name)), ...(await deliveriesOf(other.name))]).toEqual([]);
  });

  test("while a secret is replaced both are taken, and a third ends the first", async () => {
    const { name, path, secret } = await github();
    const rotate = () => server.client.call(webhooks.rotateWebhook, { params: { name }, body: {} });
    const second = (await rotate()).secret;
    const statuses = async (round: number) => {
      const bodies = [secret, second].map((one, index) => [one, numbered(2 * round + index)] as const);
      return Promise.all(
        bodies.map(async ([one, body]) => (await post(path, body, signed(body, one))).status),
      );
    };
    expect(await statuses(0)).toEqual([202, 202]);
    await rotate();
    expect(await statuses(1)).toEqual([403, 202]);
  });

  test("many at once are each handled once, although each is sent twice", { timeout: 60_000 }, async () => {
    const { name, path, secret } = await github();
    const bodies = Array.from({ length: 100 }, (_, index) => numbered(index));
    const answers = await Promise.all(
      [...bodies, ...bodies].map((body) => post(path, body, signed(body, secret))),
    );
    expect(answers.filter(({ status }) => status !== 202)).toEqual([]);
    const begun = answers.filter(({ body }) => (body as { events: number }).events === 1);
    expect(begun).toHaveLength(bodies.length);
    const handled = await eventually(async () => {
      const found = await deliveriesOf(name);
      return found.every(({ handledAt }) => handledAt !== undefined) && found;
    });
    expect(handled).toHaveLength(bodies.length);
  });
});

describe("repositories", () => {
  async function source() {
    const dir = await tempDir("kws-source");
    onTestFinished(() => dir[Symbol.asyncDispose]());
    const who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    const git = async (...args: string[]) =>
      (await run("git", ["-C", dir.path, ...who, ...args], { env: process.env })).stdout.trim();
    await git("init", "--quiet", "--initial-branch=main");
    await writeFile(join(dir.path, "kws.yaml"), "name: orders\n");
    await writeFile(join(dir.path, "Dockerfile"), "FROM scratch\n");
    await git("add", ".");
    const commit = async (message: string) => {
      await writeFile(join(dir.path, "README.md"), message);
      await git("add", ".");
      await git("commit", "--quiet", "-m", message);
      return git("rev-parse", "HEAD");
    };
    const name = `r${randomUUID()}`;
    return { path: dir.path, name, commit, git };
  }
  const at = (name: string, commit: string) =>
    eventually(async () => {
      const found = await server.client.call(getRepository, { params: { name } });
      return found.commit === commit && found;
    });
  const runsOf = async (repository: string) =>
    (await Array.fromAsync(server.client.all(listRuns))).filter((run) => run.repository === repository);

  test("a signed push brings the repository to its new commit, and starts a run of its service", async () => {
    const { path: url, name, commit } = await source();
    const before = await commit("one");
    await server.client.call(addRepository, { body: { name, url } });
    await at(name, before);
    const { path, secret } = await add("git", url);
    const after = await commit("two");
    const refs = [{ ref: "refs/heads/main", before, after }];
    const body = JSON.stringify({ repository: { name: "acme/shop", url }, author: "lou", refs });
    const headers = {
      "content-type": "application/json",
      ...signedHeaders("msg_1", Date.now(), body, secret),
    };
    expect((await post(path, Buffer.from(body), headers)).status).toBe(202);
    await at(name, after);
    const queued = await eventually(async () => {
      const found = await runsOf(name);
      return found.length > 0 && found;
    });
    expect(queued).toMatchObject([{ service: "orders", commit: after, branch: "main", event: "push" }]);
  });

  test("a repository that is polled is brought to its new commit, until it no longer is", async () => {
    const { path: url, name, commit, git } = await source();
    const first = await commit("one");
    const { id } = await server.client.call(addRepository, { body: { name, url } });
    await at(name, first);
    const params = { name };
    await server.client.call(setPoll, { params, body: { everySeconds: 3600 } });
    const row = () =>
      server.db.selectFrom("repository_polls").selectAll().where("repository", "=", id).executeTakeFirst();
    expect(await eventually(async () => (await row())?.refs ?? undefined)).toEqual({
      "refs/heads/main": first,
    });
    const second = await commit("two");
    await git("tag", "v1");
    // Asked at once, and compared with what the older interval has seen.
    await server.client.call(setPoll, { params, body: { everySeconds: 600 } });
    await at(name, second);
    const tagged = await eventually(async () => {
      const found = await runsOf(name);
      return found.length === 2 && found;
    });
    expect(tagged.map(({ event }) => event).sort()).toEqual(["push", "tag"]);
    await server.client.call(setPoll, { params, body: {} });
    expect(await row()).toBeUndefined();
  });
});

describe("notifications", () => {
  const notification = (): Notification => ({
    id: `msg_${randomUUID()}`,
    type: "run.failed",
    time: "2026-09-21T10:00:00Z",
    outcome: "failed",
    values: { service: "cart", commit: "b2".repeat(20), summary: "failed with pa55word in it" },
    repositoryUrl: shop,
  });
  async function tell(message: Notification): Promise<void> {
    const { db, workflows } = server.ctx;
    await db.transaction().execute((trx) => notify(server.ctx, trx, message, ["pa55word"]));
    workflows.wake();
  }
  const stateOf = async (channel: string) =>
    (await server.client.call(notifications.listNotifications, { query: { channel } })).items[0];
  const ended = (channel: string) =>
    eventually(async () => {
      const found = await stateOf(channel);
      return found?.endedAt !== undefined && found;
    });
  async function receiver(answers: number[]) {
    const got: { url: string; body: string; headers: Record<string, string> }[] = [];
    const taker = createServer((request, response) => {
      const take = async () => {
        const headers = request.headers as Record<string, string>;
        got.push({ url: request.url ?? "", body: await text(request), headers });
        response.writeHead(answers[got.length - 1] ?? 200).end();
      };
      void take();
    }).listen(0, "127.0.0.1");
    await once(taker, "listening");
    onTestFinished(async () => {
      taker.closeAllConnections();
      taker.close();
      await once(taker, "close");
    });
    return { url: `http://127.0.0.1:${(taker.address() as AddressInfo).port}/T0/hidden`, got };
  }
  async function channel(target: notifications.NewTarget, types = ["run.*"]) {
    const name = `c${randomUUID()}`;
    const made = await server.client.call(notifications.addChannel, { body: { name, target, types } });
    onTestFinished(async () => {
      await server.client.call(notifications.removeChannel, { params: { name } }).catch(() => undefined);
    });
    return made;
  }

  test("a message is tried again when the receiver fails, keeps its id, and holds no secret", async () => {
    const { url, got } = await receiver([503]);
    const { name, secret = "" } = await channel({ kind: "webhook", url });
    const message = notification();
    await tell(message);
    await tell(message);
    expect(await ended(name)).toMatchObject({ state: "sent", attempts: 2, id: message.id });
    expect(got).toHaveLength(2);
    for (const { body, headers } of got) {
      expect(verifySigned(Buffer.from(body), headers, [secret], Date.now())).toBe(message.id);
      expect(body).toContain("failed with *** in it");
    }
    const kept = await server.db.selectFrom("outbox").selectAll().execute();
    expect(JSON.stringify(kept)).not.toContain("pa55word");
  });

  test("a refusal is final, and neither list nor database tell the address", async () => {
    const { url } = await receiver([404, 404]);
    const { name, id, to } = await channel({ kind: "slack", url });
    await tell(notification());
    expect(await ended(name)).toMatchObject({ state: "failed", attempts: 1 });
    const tested = await server.client.call(notifications.testChannel, { params: { name } });
    expect(tested).toMatchObject({ result: "failed", reason: expect.stringContaining("answered 404") });
    const rows = await server.db
      .selectFrom("notification_channels")
      .selectAll()
      .where("id", "=", id)
      .execute();
    expect(JSON.stringify([rows, tested, await stateOf(name)])).not.toContain("hidden");
    expect(to).toBe(new URL(url).host);
  });

  test("while the SMTP server is down a message waits and says why; removing its channel ends that", async () => {
    const { name } = await channel({ kind: "email", to: ["team@example.com"] });
    await tell(notification());
    const waiting = await eventually(async () => {
      const found = await stateOf(name);
      return found?.attempts === 1 && found;
    });
    expect(waiting).toMatchObject({ state: "waiting", reason: expect.stringContaining("127.0.0.1") });
    await server.client.call(notifications.removeChannel, { params: { name } });
    expect(await stateOf(name)).toBeUndefined();
  });

  test("a commit gets its status where the repository is the channel's, and nowhere else", async () => {
    const { url, got } = await receiver([201, 201]);
    const api = new URL("/api", url).href;
    const target = { kind: "status", forge: "github", api, token: "ghp_hidden" } as const;
    const { name } = await channel({ ...target, scope: "https://git.example.com/acme/*" });
    const other = await channel({ ...target, scope: "https://git.example.com/lou/*" });
    await tell(notification());
    expect(await ended(name)).toMatchObject({ state: "sent" });
    expect(got[0]?.url).toBe(`/api/repos/acme/shop/statuses/${"b2".repeat(20)}`);
    expect(got[0]?.headers).toMatchObject({ authorization: "Bearer ghp_hidden" });
    expect(JSON.parse(got[0]?.body ?? "")).toMatchObject({ state: "failure", context: "kws/cart" });
    expect(await stateOf(other.name)).toBeUndefined();
  });

  test("a channel gets the types that it asks for", async () => {
    const { url, got } = await receiver([]);
    await channel({ kind: "slack", url }, ["release.*"]);
    const { name } = await channel({ kind: "slack", url }, ["run.failed"]);
    await tell(notification());
    await ended(name);
    expect(got).toHaveLength(1);
  });

  test.each([
    ["an address of this network", { kind: "webhook", url: "http://10.0.0.1/" }],
    ["a key that is none", { kind: "webhook", url: "https://hooks.example.com/", secret: "whsec_AAAA" }],
    ["an address that is no e-mail's", { kind: "email", to: ["a@example.com\nBcc: b@example.com"] }],
    [
      "an API in this network",
      { kind: "status", forge: "gitea", scope: shop, api: "http://[::1]/", token: "t" },
    ],
  ] satisfies [string, notifications.NewTarget][])(
    "%s is refused when a channel is made",
    async (_case, target) => {
      const body = { name: "refused", target };
      const made = server.client.call(notifications.addChannel, { body });
      await expect(made).rejects.toMatchObject({ reason: expect.stringMatching(/config|permission/) });
    },
  );
});
