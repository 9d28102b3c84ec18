import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createApp } from "./app.ts";

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

const echo = (name: string) =>
  listen(createServer((request, response) => response.end(`${name} ${request.method} ${request.url}`)));

test("the longest prefix wins and is cut off", async () => {
  await using catalog = await echo("catalog");
  await using web = await echo("web");
  await using app = await listen(createApp({ "/api/catalog": catalog.url, "/": web.url }));
  const text = async (path: string, init?: RequestInit) => (await fetch(app.url + path, init)).text();
  assert.equal(await text("/api/catalog/products?x=1"), "catalog GET /products?x=1");
  assert.equal(await text("/api/catalogue"), "web GET /api/catalogue");
  assert.equal(await text("/orders", { method: "POST", body: "a=b" }), "web POST /orders");
});

test("a service that is away is a 502 that names it", async () => {
  await using app = await listen(createApp({ "/": "http://127.0.0.1:1" }));
  const response = await fetch(app.url);
  assert.equal(response.status, 502);
  assert.match(await response.text(), /127\.0\.0\.1 does not answer/);
});
