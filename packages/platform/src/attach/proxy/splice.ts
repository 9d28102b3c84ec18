/** Two connections made into one. */
import { connect } from "node:net";
import type { Duplex } from "node:stream";

/** Passes on bytes and ends both ways; what breaks one breaks the other. */
export function splice(a: Duplex, b: Duplex): void {
  a.on("error", () => b.destroy());
  b.on("error", () => a.destroy());
  a.once("close", () => {
    if (!a.readableEnded) b.destroy();
  });
  b.once("close", () => {
    if (!b.readableEnded) a.destroy();
  });
  a.pipe(b);
  b.pipe(a);
}

/** Resolves when it is connected. */
export function dialTcp(host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}
