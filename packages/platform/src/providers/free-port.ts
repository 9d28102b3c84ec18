/** Ports of this machine that nobody listens on, for tools that have to be told one. Another program may take it meanwhile. */
import { createServer } from "node:net";
import { isErrno } from "@kws/base/errors";

/** The first free one from `from` on, or any. */
export async function freePort(from = 0): Promise<number> {
  for (let port = from; ; port++) {
    const free = await tryPort(port);
    if (free !== undefined) return free;
  }
}

/** The port, or undefined where it is taken. */
export async function tryPort(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host: "127.0.0.1" }, resolve);
    });
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : undefined;
  } catch (error) {
    if (isErrno(error, "EADDRINUSE", "EACCES")) return undefined;
    throw error;
  } finally {
    server.close();
  }
}
