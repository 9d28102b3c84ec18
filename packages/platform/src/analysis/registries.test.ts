/** Registries that really refuse, on loopback. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { openRegistries } from "@kws/oci/registry";
import { afterEach, expect, test } from "vitest";
import { imageFinding, packagesFinding } from "./registries.ts";

let server: Server | undefined;
afterEach(() => server?.close());

/** The host of a registry that answers everything with the status. */
async function registry(status: number, body = "{}"): Promise<string> {
  server = createServer((_request, response) => {
    response.writeHead(status, { "content-type": "application/json", "www-authenticate": 'Basic realm="x"' });
    response.end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const signal = AbortSignal.timeout(20_000);
const registries = openRegistries({ env: {}, retryDelayMs: 1 });

test("one that wants a login is an error that says how, one that has no such image too", async () => {
  const closed = await imageFinding(registries, `${await registry(401)}/team/orders:1`, signal);
  expect(closed).toMatchObject({ severity: "error", fix: expect.stringContaining("docker login") });
  server?.close();
  const missing = await imageFinding(registries, `${await registry(404)}/team/orders:1`, signal);
  expect(missing).toMatchObject({ severity: "error", message: expect.stringContaining("no such image") });
});

test("one that lets us in is told with its tags, and one that nobody answers for is a warning", async () => {
  const host = await registry(200, '{"tags":["1.0.0","1.1.0"]}');
  const found = await packagesFinding(registries, `${host}/team`, "orders", { HOME: "/nonexistent" }, signal);
  expect(found).toMatchObject({ severity: "ok", message: expect.stringMatching(/without a login.* 2 tags/) });
  server?.close();
  server?.closeAllConnections();
  const gone = await imageFinding(registries, `${host}/team/orders:1`, signal);
  expect(gone).toMatchObject({ severity: "warning", message: expect.stringContaining("ECONNREFUSED") });
});
