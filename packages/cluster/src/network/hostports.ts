/** NodePort and LoadBalancer Services on the host's loopback: one TCP listener a port. */
import { createServer, type Server } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf } from "@kws/base/errors";
import { listenOn } from "./ingress.ts";
import type { Endpoint } from "./records.ts";

export interface HostPort {
  port: number;
  /** Asked for each connection. */
  endpoints(): Endpoint[];
}

export class HostPorts {
  readonly #dial: (host: string, port: number) => Promise<Duplex>;
  readonly #onTaken: (port: number, message: string) => void;
  readonly #open = new Map<number, { server: Server; entry: HostPort; turn: number }>();

  /** `onTaken` is told once of each port that cannot be listened on; it is tried again with the next change. */
  constructor(
    dial: (host: string, port: number) => Promise<Duplex>,
    onTaken: (port: number, message: string) => void,
  ) {
    this.#dial = dial;
    this.#onTaken = onTaken;
  }

  /** Listens on exactly these ports. */
  apply(wanted: HostPort[]): void {
    const ports = new Map(wanted.map((entry) => [entry.port, entry]));
    for (const [port, { server }] of this.#open) {
      if (ports.has(port)) continue;
      server.close();
      this.#open.delete(port);
    }
    for (const [port, entry] of ports) {
      const open = this.#open.get(port);
      if (open === undefined) this.#listen(entry);
      else open.entry = entry;
    }
  }

  close(): void {
    this.apply([]);
  }

  #listen(entry: HostPort): void {
    const { port } = entry;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      const open = this.#open.get(port);
      const choices = open?.entry.endpoints() ?? [];
      const endpoint = choices[(open?.turn ?? 0) % Math.max(1, choices.length)];
      if (open === undefined || endpoint === undefined) {
        socket.destroy();
        return;
      }
      open.turn += 1;
      socket.on("error", () => socket.destroy());
      this.#dial(endpoint.address, endpoint.port).then(
        (connection) => {
          connection.on("error", () => socket.destroy());
          connection.on("close", () => socket.destroy());
          socket.on("close", () => connection.destroy());
          socket.pipe(connection).pipe(socket);
          socket.resume();
        },
        () => socket.destroy(),
      );
    });
    server.unref();
    this.#open.set(port, { server, entry, turn: 0 });
    listenOn(server, port).catch((error: unknown) => {
      this.#open.delete(port);
      this.#onTaken(port, messageOf(error));
    });
  }
}
