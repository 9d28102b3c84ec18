import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { compose, mailAll } from "./mail.ts";

const paid = { id: "o1", email: "a@example.com", totalCents: 2400, status: "paid" };

test("a paid order and a declined one get different mail", () => {
  assert.match(compose(paid).text, /€24\.00, is on its way/);
  assert.match(compose({ ...paid, status: "declined" }).subject, /did not go through/);
});

test("every order is mailed and then marked, and pending ones wait", async () => {
  const marked: string[] = [];
  const server = createServer((request, response) => {
    if (request.method === "POST") marked.push(request.url ?? "");
    response.end(JSON.stringify([paid, { ...paid, id: "o2", status: "pending" }]));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sent: string[] = [];
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const count = await mailAll(url, async (mail) => void sent.push(mail.to));
  server.close();
  assert.equal(count, 1);
  assert.deepEqual(sent, ["a@example.com"]);
  assert.deepEqual(marked, ["/orders/o1/mailed"]);
});
