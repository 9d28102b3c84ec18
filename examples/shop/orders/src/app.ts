// POST /orders {email, items: [{productId, quantity}]}, GET /orders[?mailed=false], GET /orders/:id,
// POST /orders/:id/mailed, GET /healthz, GET /readyz
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Item, Store } from "./store.ts";

export interface Neighbours {
  /** The price of a product in cents; undefined where the catalog does not have it. */
  priceOf(productId: string): Promise<number | undefined>;
  /** False where the card was declined. */
  charge(orderId: string, amountCents: number): Promise<boolean>;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function createApp(store: Store, neighbours: Neighbours): Server {
  return createServer((request, response) => {
    handle(request, response, store, neighbours).catch((error: unknown) => {
      if (error instanceof Refusal) return send(response, error.status, { error: error.message });
      console.error(error);
      send(response, 502, { error: "a service that orders depends on did not answer" });
    });
  });
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  store: Store,
  neighbours: Neighbours,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://orders");
  const [first, id, action] = url.pathname.slice(1).split("/");
  const method = request.method ?? "GET";
  if (method === "GET" && first === "healthz") return send(response, 200, { status: "ok" });
  if (method === "GET" && first === "readyz") {
    try {
      await store.ping();
      return send(response, 200, { status: "ok" });
    } catch {
      return send(response, 503, { status: "the database does not answer" });
    }
  }
  if (first !== "orders") throw new Refusal(404, `nothing at ${url.pathname}`);
  if (id === undefined && method === "GET") {
    const mailed = url.searchParams.get("mailed");
    return send(response, 200, await store.list(mailed === null ? {} : { mailed: mailed === "true" }));
  }
  if (id === undefined && method === "POST") {
    const { email, items } = parseOrder(await readJson(request));
    const priced = await Promise.all(items.map((item) => price(item, neighbours)));
    const order = await store.create(email, priced);
    const paid = await neighbours.charge(order.id, order.totalCents);
    const final = await store.setStatus(order.id, paid ? "paid" : "declined");
    return send(response, paid ? 201 : 402, final);
  }
  if (id === undefined || !/^[0-9a-f-]{36}$/.test(id)) throw new Refusal(404, "no such order");
  const order = method === "POST" && action === "mailed" ? await store.setMailed(id) : await store.find(id);
  if (order === undefined) throw new Refusal(404, "no such order");
  send(response, 200, order);
}

async function price(item: Omit<Item, "priceCents">, neighbours: Neighbours): Promise<Item> {
  const priceCents = await neighbours.priceOf(item.productId);
  if (priceCents === undefined) throw new Refusal(422, `there is no product "${item.productId}"`);
  return { ...item, priceCents };
}

function parseOrder(body: unknown): { email: string; items: Omit<Item, "priceCents">[] } {
  const { email, items } = (body ?? {}) as { email?: unknown; items?: unknown };
  if (typeof email !== "string" || !/^\S+@\S+$/.test(email))
    throw new Refusal(400, "say whom the order is for: email");
  if (!Array.isArray(items) || items.length === 0 || items.length > 50)
    throw new Refusal(400, "say what to order: items");
  const quantities = new Map<string, number>();
  for (const item of items as unknown[]) {
    const { productId, quantity } = (item ?? {}) as { productId?: unknown; quantity?: unknown };
    if (
      typeof productId !== "string" ||
      !Number.isInteger(quantity) ||
      Number(quantity) < 1 ||
      Number(quantity) > 1000
    ) {
      throw new Refusal(400, "an item is {productId, quantity} with a quantity from 1 to 1000");
    }
    quantities.set(productId, (quantities.get(productId) ?? 0) + Number(quantity));
  }
  return { email, items: [...quantities].map(([productId, quantity]) => ({ productId, quantity })) };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > 100_000) throw new Refusal(413, "that is too much for one order");
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, "the body is not JSON");
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
