import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp, orderOf } from "./app.ts";

const hostile = { id: "x", name: "<script>alert(1)</script>", description: "a & b", priceCents: 100 };

async function listen(server: Server): Promise<{ url: string } & AsyncDisposable> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

const backend = (status: number, body: unknown) =>
  listen(
    createServer((request, response) =>
      request.resume().on("end", () => response.writeHead(status).end(JSON.stringify(body))),
    ),
  );

test("names from the catalog cannot inject markup", async () => {
  await using catalog = await backend(200, [hostile]);
  await using app = await listen(createApp({ catalogUrl: catalog.url, ordersUrl: catalog.url }));
  const html = await (await fetch(app.url)).text();
  assert.ok(html.includes("&lt;script&gt;alert(1)&lt;/script&gt;"));
  assert.ok(!html.includes("<script>"));
});

test("a placed order leads to its page", async () => {
  await using backends = await backend(201, { id: "abc-1", items: [] });
  await using app = await listen(createApp({ catalogUrl: backends.url, ordersUrl: backends.url }));
  const body = new URLSearchParams({ email: "a@example.com", cup: "2" });
  const response = await fetch(`${app.url}/orders`, { method: "POST", body, redirect: "manual" });
  assert.equal(response.status, 303);
  assert.equal(response.headers.get("location"), "/orders/abc-1");
});

test("an empty order is refused before it is sent, with the shop still on the page", async () => {
  await using catalog = await backend(200, [hostile]);
  await using app = await listen(createApp({ catalogUrl: catalog.url, ordersUrl: "http://127.0.0.1:1" }));
  const body = new URLSearchParams({ email: "a@example.com", cup: "0" });
  const response = await fetch(`${app.url}/orders`, { method: "POST", body });
  assert.equal(response.status, 400);
  const html = await response.text();
  assert.match(html, /role="alert">Choose a quantity/);
  assert.match(html, /<form/);
});

test("the form's zeros are not ordered", () => {
  const form = new URLSearchParams({ email: "a@example.com", cup: "2", kettle: "0" });
  assert.deepEqual(orderOf(form), { email: "a@example.com", items: [{ productId: "cup", quantity: 2 }] });
});
