/** The server's side of SOCKS5, as far as connections need it (RFC 1928): no authentication, CONNECT alone. */
import { once } from "node:events";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { splice } from "./proxy/splice.ts";

/** The first byte that a client says. */
export const socksVersion = 5;
const commandConnect = 1;
const addressKinds = { ipv4: 1, name: 3, ipv6: 4 };
const replies = { succeeded: 0, hostUnreachable: 4, commandNotSupported: 7, addressNotSupported: 8 };

/** Connects a paused client with what it asks for. */
export async function acceptSocks(
  client: Socket,
  dial: (host: string, port: number) => Promise<Duplex>,
): Promise<void> {
  const answer = (code: number) => client.write(Buffer.from([socksVersion, code, 0, 1, 0, 0, 0, 0, 0, 0]));
  try {
    const [, methods = 0] = await read(client, 2);
    await read(client, methods);
    client.write(Buffer.from([socksVersion, 0]));
    const [, command, , kind] = await read(client, 4);
    const host = await readHost(client, kind);
    const port = (await read(client, 2)).readUInt16BE();
    if (host === undefined || command !== commandConnect) {
      answer(host === undefined ? replies.addressNotSupported : replies.commandNotSupported);
      client.end();
      return;
    }
    const remote = await dial(host, port).catch(() => undefined);
    answer(remote === undefined ? replies.hostUnreachable : replies.succeeded);
    if (remote === undefined) client.end();
    else splice(client, remote);
  } catch {
    // The client is gone, or is none.
    client.destroy();
  }
}

/** Undefined for kinds that nobody knows. */
async function readHost(client: Socket, kind: number | undefined): Promise<string | undefined> {
  switch (kind) {
    case addressKinds.ipv4:
      return (await read(client, 4)).join(".");
    case addressKinds.name: {
      const [length = 0] = await read(client, 1);
      return (await read(client, length)).toString("latin1");
    }
    case addressKinds.ipv6: {
      const bytes = await read(client, 16);
      return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16)).join(":");
    }
    default:
      return undefined;
  }
}

/** So many bytes; rejects where the client ends before. */
async function read(client: Socket, count: number): Promise<Buffer> {
  if (count === 0) return Buffer.alloc(0);
  for (;;) {
    const bytes = client.read(count) as Buffer | null;
    if (bytes?.length === count) return bytes;
    if (bytes !== null || client.readableEnded || client.destroyed) throw new Error("the client ended");
    const either = new AbortController();
    const { signal } = either;
    try {
      await Promise.race([
        once(client, "readable", { signal }),
        once(client, "end", { signal }),
        once(client, "close", { signal }),
      ]);
    } finally {
      either.abort();
    }
  }
}
