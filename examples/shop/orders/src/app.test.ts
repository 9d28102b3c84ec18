import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp, type Neighbours } from "./app.ts";
import type { Order, Store } from "./store.ts";

function memoryStore(): Store {
  const orders = new Map<string, Order>();
  const change = async (id: string, fields: Partial<Order>) => {
    const order = orders.get(id);
    if (order !== undefined) orders.set(id, { ...order, ...fields });
    return orders.get(id);
  };
  return {
    ping: async () => {},
    find: async (id) => orders.get(id),
    list: async ({ mailed }) =>
      [...orders.values()].filter((order) => mailed === undefined || (order.mailedAt !== null) === mailed),
    setStatus: (id, status) => change(id, { status }),
    setMailed: (id) => change(id, { mailedAt: new Date().toISOString() }),
    async create(email, items) {
      const totalCents = items.reduce((sum, item) => sum + item.quantity * item.priceCents, 0);
      const id = randomUUID();
      const createdAt = new Date().toISOString();
      orders.set(id, { id, email, items, totalCents, status: "pending", createdAt, mailedAt: null });
      return orders.get(id)!;
    },
  };
}

async function serve(neighbours: Partial<Neighbours> = {}): Promise<{ url: string } & AsyncDisposable> {
  const server = createApp(memoryStore(), {
    priceOf: async (id) => (id === "cup" ? 1200 : undefined),
    charge: async () => true,
    ...neighbours,
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/orders`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

const post = (body: unknown) => ({ method: "POST", body: JSON.stringify(body) });
const twoCups = { email: "a@example.com", items: [{ productId: "cup", quantity: 2 }] };

test("an order costs what the catalog says and is paid", async () => {
  await using app = await serve();
  const response = await fetch(app.url, post(twoCups));
  assert.equal(response.status, 201);
  const order = (await response.json()) as Order;
  assert.equal(order.totalCents, 2400);
  assert.equal(order.status, "paid");
});

test("a declined card leaves a declined order", async () => {
  await using app = await serve({ charge: async () => false });
  const response = await fetch(app.url, post(twoCups));
  assert.equal(response.status, 402);
  assert.equal(((await response.json()) as Order).status, "declined");
});

test("an order for an unknown product is refused and not kept", async () => {
  await using app = await serve();
  const response = await fetch(app.url, post({ ...twoCups, items: [{ productId: "spoon", quantity: 1 }] }));
  assert.equal(response.status, 422);
  assert.deepEqual(await (await fetch(app.url)).json(), []);
});

test("an order is listed as unmailed until it is marked", async () => {
  await using app = await serve();
  const order = (await (await fetch(app.url, post(twoCups))).json()) as Order;
  const unmailed = async () => (await (await fetch(`${app.url}?mailed=false`)).json()) as Order[];
  assert.equal((await unmailed()).length, 1);
  await fetch(`${app.url}/${order.id}/mailed`, post({}));
  assert.equal((await unmailed()).length, 0);
});

test("nonsense is refused", async () => {
  await using app = await serve();
  const bodies = [
    null,
    {},
    { email: "x" },
    { ...twoCups, items: [] },
    { ...twoCups, items: [{ productId: "cup", quantity: 0 }] },
  ];
  for (const body of bodies)
    assert.equal((await fetch(app.url, post(body))).status, 400, JSON.stringify(body));
  assert.equal((await fetch(app.url, { method: "POST", body: "{" })).status, 400);
});
