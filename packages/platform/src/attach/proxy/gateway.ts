/**
 * What runs in the cluster of a stack that uses services of another one: it takes the connections to those and hands them to the
 * laptop, which has a way there. Ready only while a laptop is there. It is run by the Node of any image, and imports nothing
 * else.
 */
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { splice } from "./splice.ts";
import { openTunnel } from "./tunnel.ts";

export interface GatewayConfig {
  token: string;
  /** The ports of the tunnel, and of the readiness probe. */
  control: number;
  ready: number;
  routes: {
    /** That the gateway listens on. */
    listen: number;
    /** What the laptop knows the way by. */
    path: string;
  }[];
}

/** How long a connection waits for a laptop that is just coming back. */
const patienceMs = 10_000;
const pauseMs = 200;

const config = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as GatewayConfig;
const tunnel = openTunnel(config.token);
tunnel.server.listen(config.control);
createHttpServer((_request, response) => {
  response.writeHead(tunnel.idleMs() === 0 ? 200 : 503).end();
}).listen(config.ready);
for (const { listen, path } of config.routes) {
  createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on("error", () => client.destroy());
    carry(client, path).catch(() => client.destroy());
  }).listen(listen);
}

async function carry(client: Socket, path: string): Promise<void> {
  const way = await dial(client, path);
  if (way === undefined) client.resetAndDestroy();
  else if (client.destroyed) way.destroy();
  else splice(client, way);
}

async function dial(client: Socket, path: string): Promise<Duplex | undefined> {
  for (const begun = performance.now(); !client.destroyed && performance.now() - begun < patienceMs;) {
    const way = await tunnel.dial(path);
    if (way !== undefined) return way;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return undefined;
}
