import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp } from "./app.ts";

async function serve(): Promise<{ url: string } & AsyncDisposable> {
  const server = createApp();
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
