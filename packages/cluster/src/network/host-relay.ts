/**
 * The cluster's side of `host.kws.internal`: listens on the address that stands for the host, at the ports that the host
 * serves, and passes connections on through the host's Unix socket.
 */
import { connect, createServer, type Server } from "node:net";
import type { Logger } from "@kws/base/logger";
import { joinSockets } from "./proxy.ts";
import { addresses } from "./state.ts";

export class HostRelay {
  readonly #logger: Logger;
  readonly #servers = new Map<number, Server>();
  #socketPath = "";

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Resolves once it listens on exactly these ports. */
  async apply(socketPath: string, ports: number[]): Promise<void> {
    this.#socketPath = socketPath;
    const wanted = new Set(ports);
    for (const [port, server] of this.#servers) {
      if (wanted.has(port)) continue;
      this.#servers.delete(port);
      server.close();
    }
    await Promise.all(ports.filter((port) => !this.#servers.has(port)).map((port) => this.#listen(port)));
  }

  async #listen(port: number): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const host = connect({ path: this.#socketPath, allowHalfOpen: true });
      const head = Buffer.alloc(2);
      head.writeUInt16BE(port);
      host.write(head);
      joinSockets(client, host);
    });
    this.#servers.set(port, server);
    await new Promise<void>((resolve) => {
      server.once("error", (error) => {
        this.#servers.delete(port);
        this.#logger.warn("cannot pass a port of the host on", { port, error: error.message });
        resolve();
      });
      server.listen({ host: addresses.host, port, backlog: 1024 }, resolve);
    });
  }
}
