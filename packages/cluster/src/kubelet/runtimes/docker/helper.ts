/**
 * The process that lives in a container of its own on the Docker network of a cluster and does what must be done from
 * inside: Services, names, connections to pods and outward. It holds no state: the daemon, which connects through a
 * published loopback port, tells it everything, and another one can take its place.
 */
import { mkdirSync, rmSync } from "node:fs";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Logger } from "@kws/base/logger";
import { messageOf } from "@kws/base/errors";
import { joinSockets } from "../../../network/proxy.ts";
import { addresses } from "../../../network/state.ts";
import { serveNetwork } from "../inside.ts";
import { runTool } from "../sandbox/commands.ts";
import { Connections } from "../sandbox/connections.ts";
import { protocolVersion, writeJson, type Open, type Outward } from "../sandbox/protocol.ts";
import { measureContainers } from "../sandbox/usage.ts";
import { outwardSockets } from "./layout.ts";

export interface HelperOptions {
  port: number;
  token: string;
  logger: Logger;
}

/** How long a connection outward waits for the daemon to take it. */
const outwardTimeoutMs = 10_000;

/** Gives its network the cluster's addresses and serves until it is killed. */
export async function runHelper({ port, token, logger }: HelperOptions): Promise<void> {
  for (const address of [addresses.node, addresses.host])
    await runTool("ip", ["addr", "add", `${address}/32`, "dev", "lo"]);
  await runTool("ip", ["route", "add", "local", addresses.serviceCidr, "dev", "lo"]);

  const connections = new Connections(logger);
  const network = await serveNetwork(
    (event) => connections.emit(event),
    async () => "the runtime docker does not filter what pods say to each other",
    logger,
  );
  const waiting = await collectOutward(connections);
  const handlers = {
    ...network,
    hello: async () => ({ version: protocolVersion, pid: process.pid }),
    measure: async (roots: Parameters<typeof measureContainers>[0]) => measureContainers(roots),
    async kill(pid: number) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      }
      return null;
    },
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections.accept(socket, {
      handlers,
      token,
      onSession(open, rest) {
        if (rest.length > 0) socket.unshift(rest);
        serveSession(socket, open, waiting).catch((error: unknown) => {
          writeJson(socket, { error: { message: messageOf(error) } });
          socket.end();
        });
      },
      onDeserted: () => undefined,
      onShutdown: () => process.exit(0),
    });
  });
  server.listen({ host: "0.0.0.0", port }, () => logger.info("helper ready"));
}

async function serveSession(socket: Socket, open: Open, waiting: Map<number, Socket>): Promise<void> {
  if (open.open === "outward") {
    const client = waiting.get(open.id);
    waiting.delete(open.id);
    if (client === undefined) throw new Error("the connection is gone");
    client.setTimeout(0);
    writeJson(socket, { ok: true });
    joinSockets(socket, client);
    return;
  }
  if (open.open !== "dial") throw new Error(`the helper has no ${open.open}`);
  const target = connect({ host: open.host, port: open.port, allowHalfOpen: true, noDelay: true });
  await once(target, "connect");
  writeJson(socket, { ok: true });
  joinSockets(socket, target);
}

/** Listens where connections outward begin, and answers those that wait for the daemon. */
async function collectOutward(connections: Connections): Promise<Map<number, Socket>> {
  const waiting = new Map<number, Socket>();
  let last = 0;
  for (const [to, path] of Object.entries(outwardSockets) as [Outward, string][]) {
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      const id = ++last;
      waiting.set(id, client);
      client.on("error", () => client.destroy());
      client.setTimeout(outwardTimeoutMs, () => client.destroy());
      client.once("close", () => waiting.delete(id));
      if (!connections.emit({ event: "outward", id, to })) client.destroy();
    });
    server.listen({ path });
    await once(server, "listening");
  }
  return waiting;
}
