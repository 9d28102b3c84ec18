import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp } from "../src/app.ts";

async function serve(settings?: Parameters<typeof createApp>[0]): Promise<{ url: string } & AsyncDisposable> {
  const server = createApp(settings);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

const json = (method: string, body: unknown) => ({ method, body: JSON.stringify(body) });

test("charges an order once, however often it is asked", async () => {
  await using app = await serve();
  const charge = json("POST", { orderId: "o1", amountCents: 500 });
  const first = (await (await fetch(`${app.url}/charges`, charge)).json()) as { id: string };
  const second = (await (await fetch(`${app.url}/charges`, charge)).json()) as { id: string };
  assert.equal(first.id, second.id);
});

test("declines while it is told to fail", async () => {
  await using app = await serve();
  await fetch(`${app.url}/mode`, json("PUT", { fail: true }));
  assert.equal(
    (await fetch(`${app.url}/charges`, json("POST", { orderId: "o1", amountCents: 5 }))).status,
    402,
  );
  await fetch(`${app.url}/mode`, json("PUT", { fail: false }));
  assert.equal(
    (await fetch(`${app.url}/charges`, json("POST", { orderId: "o1", amountCents: 5 }))).status,
    201,
  );
});

test("refuses amounts that are not money", async () => {
  await using app = await serve();
  for (const amountCents of [0, -1, 1.5, "5", null]) {
    const response = await fetch(`${app.url}/charges`, json("POST", { orderId: "o1", amountCents }));
    assert.equal(response.status, 400, String(amountCents));
  }
});

test("declines what is more than a card is good for", async () => {
  await using app = await serve({ maxCents: 500 });
  for (const [amountCents, status] of [
    [500, 201],
    [501, 402],
  ]) {
    const response = await fetch(
      `${app.url}/charges`,
      json("POST", { orderId: `o${amountCents}`, amountCents }),
    );
    assert.equal(response.status, status);
  }
});

test("lets only the admin change the mode where there is a token", async () => {
  await using app = await serve({ adminToken: "t0ken" });
  const mode = json("PUT", { fail: true });
  assert.equal((await fetch(`${app.url}/mode`, mode)).status, 401);
  const headers = { authorization: "Bearer t0ken" };
  assert.equal((await fetch(`${app.url}/mode`, { ...mode, headers })).status, 200);
});

test("charges for those who have one of its tokens", async () => {
  await using app = await serve({ apiTokens: ["old", "new"] });
  const charge = json("POST", { orderId: "o1", amountCents: 5 });
  const status = async (headers: Record<string, string>) =>
    (await fetch(`${app.url}/charges`, { ...charge, headers })).status;
  assert.equal(await status({}), 401);
  assert.equal(await status({ authorization: "Bearer other" }), 401);
  assert.equal(await status({ authorization: "Bearer old" }), 201);
  assert.equal(await status({ authorization: "Bearer new" }), 201);
});
