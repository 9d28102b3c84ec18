/** Requests that become a connection of another protocol: exec, attach and port-forward. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { ServerContext } from "../context.ts";
import { failure } from "../handler.ts";
import type { ApiResponse, User } from "../request.ts";

export type Upgrader = (incoming: IncomingMessage, socket: Duplex, head: Buffer, whoIs: () => User) => void;

export function createUpgrader(context: ServerContext): Upgrader {
  return (incoming, socket, head, whoIs) => {
    socket.on("error", (error) => context.logger.debug("connection ended", { error: String(error) }));
    import("./session.ts")
      .then(({ openSession }) => openSession(context, incoming, socket, head, whoIs))
      .catch((error: unknown) => {
        const { method = "GET", url = "/" } = incoming;
        refuse(socket, failure(context, { method, path: url.split("?")[0] ?? "/" }, error));
      });
  };
}

function refuse(socket: Duplex, { status, body }: ApiResponse): void {
  const text = typeof body === "string" ? body : "";
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
