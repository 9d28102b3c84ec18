import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { answersHttp } from "./reach.ts";

const { signal } = new AbortController();
const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => once(server.close(), "close")));
});

async function listen(server: Server): Promise<URL> {
  servers.push(server);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return new URL(`http://orders.localhost:${(server.address() as AddressInfo).port}`);
}

test("any answer will do, and the host that is asked for is the Ingress's", async () => {
  const hosts: (string | undefined)[] = [];
  const url = await listen(
    createServer(({ headers }, response) => {
      hosts.push(headers.host);
      response.writeHead(404).end();
    }),
  );
  expect(await answersHttp(url, signal)).toBe(true);
  expect(hosts).toEqual([url.host]);
});

test("a port that nothing listens on, or that hangs up as a container's does without a server, is not served", async () => {
  const url = await listen(createTcpServer((socket) => socket.destroy()));
  expect(await answersHttp(url, signal)).toBe(false);
  const [server] = servers.splice(0);
  if (server !== undefined) await once(server.close(), "close");
  expect(await answersHttp(url, signal)).toBe(false);
});

test("what is not on this machine is not asked", async () => {
  expect(await answersHttp(new URL("http://orders.example.com:1"), signal)).toBe(true);
});
