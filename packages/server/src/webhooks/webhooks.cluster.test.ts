import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { UserError } from "@kws/base/errors";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createWebhook, listWebhooks, openWebhook, removeWebhook, rotateSecret } from "./in/webhooks.ts";
import { listOf } from "./out/addresses.ts";
import { channelsFor, createChannel, listChannels, removeChannel } from "./out/channels.ts";
import { deliver, type DeliverOptions, type Durable } from "./out/deliver.ts";
import type { Notification } from "./out/notification.ts";
import { verifySigned } from "./standard-webhooks.ts";
import { intakeApp } from "./testing/intake-app.ts";
import { testDatabase, type TestDatabase } from "./testing/database.ts";

const keys = [Buffer.alloc(32, 1)];
const allowed = listOf(["127.0.0.0/8"]);
const shop = "https://git.example.com/acme/shop.git";

let postgres: TestDatabase;
let app: FastifyInstance;
const told: string[] = [];
const begun: string[] = [];
let failing = false;

beforeAll(async () => {
  postgres = await testDatabase();
  app = await intakeApp({
    database: postgres.database,
    keys,
    now: () => Date.now(),
    begin: (_transaction, _event, id) => {
      if (failing) return Promise.reject(new Error("no"));
      begun.push(id);
      return Promise.resolve();
    },
    wake: () => undefined,
    onDelivery: (result, forge) => void told.push(`${forge} ${result}`),
  });
});

afterAll(async () => {
  await app.close();
  await postgres[Symbol.asyncDispose]();
});

const push = readFileSync(join(import.meta.dirname, "in/testdata/github/push.json"));
const signed = (body: Uint8Array, secret: string, event = "push") => ({
  "content-type": "application/json",
  "x-github-event": event,
  "x-github-delivery": randomUUID(),
  "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
});
const numbered = (count: number) =>
  Buffer.from(JSON.stringify({ ...(JSON.parse(push.toString()) as object), count }));

async function github(scope = shop): Promise<{ id: string; name: string; secret: string }> {
  const name = `github-${randomUUID()}`;
  const { webhook, secret } = await createWebhook(postgres.database, { name, forge: "github", scope }, keys);
  return { id: webhook.id, name, secret };
}

const post = (id: string, body: Uint8Array, headers: Record<string, string>) =>
  app.inject({ method: "POST", url: `/webhooks/${id}`, payload: Buffer.from(body), headers });
const deliveriesOf = (webhook: string) =>
  postgres.database.selectFrom("webhook_deliveries").selectAll().where("webhook", "=", webhook).execute();

describe("webhooks", () => {
  test("a secret is shown once and nowhere in the database", async () => {
    const { id, name, secret } = await github("git@git.example.com:acme/*");
    const [row] = await postgres.database.selectFrom("webhooks").selectAll().where("id", "=", id).execute();
    expect(JSON.stringify(row)).not.toContain(secret);
    const webhooks = await listWebhooks(postgres.database);
    const shown = webhooks.find((webhook) => webhook.name === name);
    expect(shown).toEqual({
      id,
      name,
      forge: "github",
      scope: "https://git.example.com/acme/*",
      createdAt: expect.any(String),
    });
    expect((await openWebhook(postgres.database, id, keys))?.secrets).toEqual([secret]);
  });

  test("a name is there once, a short secret is refused, and what is gone is gone", async () => {
    const { name, id } = await github();
    const again = createWebhook(postgres.database, { name, forge: "gitea", scope: shop }, keys);
    await expect(again).rejects.toMatchObject({ code: "conflict" });
    const short = { name: "short", forge: "gitea", scope: shop, secret: "hunter2" } as const;
    await expect(createWebhook(postgres.database, short, keys)).rejects.toThrow("shorter than 16");
    await removeWebhook(postgres.database, name);
    await expect(removeWebhook(postgres.database, name)).rejects.toMatchObject({ code: "not-found" });
    expect((await post(id, push, signed(push, "any"))).statusCode).toBe(404);
  });
});

describe("deliveries", () => {
  test("one is written down as its events and answered; the same again is known, also under another id", async () => {
    const { id, secret } = await github();
    told.length = 0;
    const first = await post(id, push, signed(push, secret));
    expect([first.statusCode, first.json()]).toEqual([202, { events: 1 }]);
    expect((await post(id, push, signed(push, secret))).json()).toEqual({ events: 0 });
    const rows = await deliveriesOf(id);
    expect(rows).toHaveLength(1);
    expect(rows[0]?.events).toMatchObject([{ type: "push", branch: "main" }]);
    expect(told).toEqual(["github accepted", "github known"]);
  });

  test("a ping is accepted, shows that the forge arrives, and leads to nothing", async () => {
    const { id, name, secret } = await github();
    const ping = readFileSync(join(import.meta.dirname, "in/testdata/github/ping.json"));
    expect((await post(id, ping, signed(ping, secret, "ping"))).statusCode).toBe(202);
    expect((await deliveriesOf(id))[0]?.events).toEqual([]);
    const webhooks = await listWebhooks(postgres.database);
    expect(webhooks.find((webhook) => webhook.name === name)).toHaveProperty("lastDeliveryAt");
  });

  test("what is not signed, not JSON, or of another repository is refused, and nothing of it is kept", async () => {
    const { id, secret } = await github();
    const other = await github("https://git.example.com/lou/*");
    expect((await post(id, push, signed(push, "another secret"))).statusCode).toBe(403);
    expect((await app.inject({ method: "POST", url: `/webhooks/${id}` })).statusCode).toBe(403);
    expect((await post(randomUUID(), push, signed(push, secret))).statusCode).toBe(404);
    expect((await post("1' OR 1=1", push, signed(push, secret))).statusCode).toBe(404);
    expect((await post(other.id, push, signed(push, other.secret))).statusCode).toBe(403);
    const broken = Buffer.from("{");
    expect((await post(id, broken, signed(broken, secret))).statusCode).toBe(400);
    const form = { ...signed(push, secret), "content-type": "application/x-www-form-urlencoded" };
    expect((await post(id, push, form)).statusCode).toBe(415);
    expect(await deliveriesOf(id)).toEqual([]);
  });

  test("while a secret is replaced both are taken, and a third ends the first", async () => {
    const { id, name, secret } = await github();
    const second = await rotateSecret(postgres.database, name, keys);
    const statuses = async () => {
      const bodies = [secret, second].map((one, index) => [one, numbered(Math.random() + index)] as const);
      return Promise.all(
        bodies.map(async ([one, body]) => (await post(id, body, signed(body, one))).statusCode),
      );
    };
    expect(await statuses()).toEqual([202, 202]);
    await rotateSecret(postgres.database, name, keys);
    expect(await statuses()).toEqual([403, 202]);
  });

  test("many at once are each begun once, although each is sent twice", { timeout: 60_000 }, async () => {
    const { id, secret } = await github();
    begun.length = 0;
    const bodies = Array.from({ length: 100 }, (_, index) => numbered(index));
    const answers = await Promise.all(
      [...bodies, ...bodies].map((body) => post(id, body, signed(body, secret))),
    );
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([202]));
    expect(new Set(begun).size).toBe(bodies.length);
    expect(begun).toHaveLength(bodies.length);
    expect(await deliveriesOf(id)).toHaveLength(bodies.length);
  });

  test("what could not be begun is not said to have been received, and is taken when it is sent again", async () => {
    const { id, secret } = await github();
    failing = true;
    expect((await post(id, push, signed(push, secret))).statusCode).toBe(500);
    failing = false;
    expect(await deliveriesOf(id)).toEqual([]);
    expect((await post(id, push, signed(push, secret))).json()).toEqual({ events: 1 });
  });
});

describe("notifications", () => {
  const notification: Notification = {
    id: "msg_1",
    type: "run.failed",
    time: "2026-09-21T10:00:00Z",
    outcome: "failed",
    values: { service: "cart", summary: "failed with pa55word in it" },
  };
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const options = (): DeliverOptions => ({
    database: postgres.database,
    keys,
    allowed,
    timeoutMs: 20_000,
    secrets: ["pa55word"],
    now: () => Date.now(),
    random: () => 0,
  });
  /** Keeps what a workflow's journal keeps. */
  const journal = () => {
    const steps: string[] = [];
    const pauses: number[] = [];
    const durable: Durable = {
      step: async (name, work) => {
        steps.push(name);
        return work();
      },
      sleep: (ms) => {
        pauses.push(ms);
        return Promise.resolve();
      },
    };
    return { steps, pauses, durable };
  };
  async function receiver(
    answers: number[],
  ): Promise<{ url: string; got: { body: string; headers: object }[] }> {
    const got: { body: string; headers: object }[] = [];
    const server = createServer((request, response) => {
      const take = async () => {
        got.push({ body: await text(request), headers: request.headers });
        response.writeHead(answers[got.length - 1] ?? 200, { "retry-after": "60" }).end();
      };
      void take();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/T0/hidden`, got };
  }
  const create = (url: string, name: string = randomUUID()) =>
    createChannel(
      postgres.database,
      { name, target: { kind: "webhook", url, secret }, types: ["run.*"] },
      keys,
      allowed,
    );

  test("a message is tried again as the receiver asks, keeps its id, and holds no secret", async () => {
    const { url, got } = await receiver([503, 429]);
    const channel = await create(url);
    const { steps, pauses, durable } = journal();
    expect(await deliver(channel.id, notification, durable, options())).toEqual({
      result: "sent",
      attempts: 3,
    });
    expect(steps).toEqual(["attempt 1", "attempt 2", "attempt 3"]);
    expect(pauses).toEqual([60_000, 60_000]);
    for (const { body, headers } of got) {
      expect(verifySigned(Buffer.from(body), headers as Record<string, string>, [secret], Date.now())).toBe(
        "msg_1",
      );
      expect(body).not.toContain("pa55word");
      expect(body).toContain("failed with *** in it");
    }
  });

  test("a refusal is final, and its reason does not tell the address", async () => {
    const { url } = await receiver([404]);
    const channel = await create(url);
    const outcome = await deliver(channel.id, notification, journal().durable, options());
    expect(outcome).toMatchObject({
      result: "failed",
      attempts: 1,
      reason: expect.stringContaining("answered 404"),
    });
    expect(JSON.stringify(outcome)).not.toContain("hidden");
  });

  test("a channel that was removed while a message waited gets no more", async () => {
    const { url, got } = await receiver([503]);
    const channel = await create(url);
    const { durable } = journal();
    const removing: Durable = { ...durable, sleep: () => removeChannel(postgres.database, channel.name) };
    expect(await deliver(channel.id, notification, removing, options())).toEqual({
      result: "removed",
      attempts: 2,
    });
    expect(got).toHaveLength(1);
  });

  test("a channel's address is sealed, and only its host is shown", async () => {
    const channel = await create("https://hooks.example.com/T0/hidden");
    const [row] = await postgres.database
      .selectFrom("notification_channels")
      .selectAll()
      .where("id", "=", channel.id)
      .execute();
    const shown = (await listChannels(postgres.database, keys)).find(({ id }) => id === channel.id);
    expect(shown).toEqual(channel);
    expect(channel.to).toBe("hooks.example.com");
    expect(JSON.stringify([row, channel])).not.toContain("hidden");
  });

  test("a channel gets the types that it asks for", async () => {
    const { id } = await create("https://hooks.example.com/");
    expect(await channelsFor(postgres.database, "run.failed")).toContain(id);
    expect(await channelsFor(postgres.database, "run")).not.toContain(id);
    expect(await channelsFor(postgres.database, "run.step.failed")).not.toContain(id);
  });

  test.each([
    ["an address of this network", { kind: "webhook", url: "http://10.0.0.1/", secret }],
    ["a key that is none", { kind: "webhook", url: "https://hooks.example.com/", secret: "whsec_AAAA" }],
    ["an address that is no e-mail's", { kind: "email", to: ["a@example.com\nBcc: b@example.com"] }],
  ] as const)("%s is refused when a channel is made", async (_case, target) => {
    const given = structuredClone(target) as Parameters<typeof createChannel>[1]["target"];
    const channel = { name: randomUUID(), target: given, types: ["run.*"] };
    await expect(createChannel(postgres.database, channel, keys, allowed)).rejects.toBeInstanceOf(UserError);
  });
});
