import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp, type Products } from "../src/app.ts";

const kettle = { id: "kettle", name: "Kettle", description: "Boils.", priceCents: 3900 };

async function serve(products: Partial<Products>): Promise<{ url: string } & AsyncDisposable> {
  const server = createApp({
    list: async () => [kettle],
    find: async (id) => (id === "kettle" ? kettle : undefined),
    ping: async () => {},
    ...products,
  });
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

test("lists what there is to buy", async () => {
  await using app = await serve({});
  const response = await fetch(`${app.url}/products`);
  assert.deepEqual(await response.json(), [kettle]);
});

test("an unknown product is not found", async () => {
  await using app = await serve({});
  assert.equal((await fetch(`${app.url}/products/kettle`)).status, 200);
  assert.equal((await fetch(`${app.url}/products/spoon`)).status, 404);
});

test("is alive but not ready while its database is away", async () => {
  await using app = await serve({ ping: () => Promise.reject(new Error("connection refused")) });
  assert.equal((await fetch(`${app.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${app.url}/readyz`)).status, 503);
});
