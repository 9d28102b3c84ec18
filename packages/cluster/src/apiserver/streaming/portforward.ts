/** `portforward`: connections to a pod's ports, over SPDY streams (also tunnelled in a WebSocket) or WebSocket channels. */
import type { Duplex } from "node:stream";
import { messageOf } from "@kws/base/errors";
import type { WebSocket } from "ws";
import { serveSpdy } from "./spdy.ts";

export type Dial = (port: number) => Promise<Duplex>;

/** Each connection is a pair of streams with one `requestID`: `error` for what goes wrong, `data` for the bytes. */
export function portForwardOverSpdy(connection: Duplex, dial: Dial): void {
  const errors = new Map<string, Duplex>();
  const opened = new Set<Duplex>();
  serveSpdy(connection, ({ headers, duplex }) => {
    const id = headers.get("requestid") ?? headers.get("port") ?? "";
    if (headers.get("streamtype") === "error") {
      errors.set(id, duplex);
      return;
    }
    const port = Number(headers.get("port"));
    const error = errors.get(id);
    errors.delete(id);
    join(duplex, port).then(
      () => error?.end(),
      (failure: unknown) => {
        error?.end(`error forwarding port ${port} to pod: ${messageOf(failure)}`);
        duplex.end();
      },
    );
  });
  connection.on("close", () => {
    for (const target of opened) target.destroy();
  });

  async function join(client: Duplex, port: number): Promise<void> {
    const target = await dialPort(dial, port);
    opened.add(target);
    try {
      await pipeBoth(client, target);
    } finally {
      opened.delete(target);
    }
  }
}

function dialPort(dial: Dial, port: number): Promise<Duplex> {
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error(`invalid port ${port}`);
  return dial(port);
}

/** Resolves when both directions have ended; an end on one side is passed on to the other. */
function pipeBoth(client: Duplex, target: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = 2;
    const closed = (): void => {
      if (--open === 0) resolve();
    };
    target.on("error", (error) => {
      client.end();
      reject(error);
    });
    client.on("error", () => target.destroy());
    client.on("close", () => {
      if (!client.readableEnded) target.destroy();
    });
    client.pipe(target);
    target.pipe(client);
    client.once("end", closed);
    target.once("end", closed);
    target.once("close", () => resolve());
  });
}

/**
 * The older form: two channels for each port of the query, data and error, each beginning with the port as two bytes,
 * little-endian. A port carries one connection.
 */
export async function portForwardOverWebSocket(
  socket: WebSocket,
  ports: number[],
  dial: Dial,
): Promise<void> {
  const send = (channel: number, bytes: Uint8Array): void => {
    if (socket.readyState === socket.OPEN) socket.send(Buffer.concat([Buffer.of(channel), bytes]));
  };
  const targets = new Map<number, Duplex>();
  const early = new Map<number, Buffer[]>();
  socket.on("message", (data: Buffer) => {
    const channel = data[0] ?? 0;
    const target = targets.get(channel);
    if (target !== undefined) target.write(data.subarray(1));
    else early.set(channel, [...(early.get(channel) ?? []), data.subarray(1)]);
  });
  socket.on("close", () => {
    for (const target of targets.values()) target.destroy();
  });
  await Promise.all(
    ports.map(async (port, index) => {
      const [dataChannel, errorChannel] = [2 * index, 2 * index + 1];
      const prefix = Buffer.alloc(2);
      prefix.writeUInt16LE(port);
      send(dataChannel, prefix);
      send(errorChannel, prefix);
      try {
        const target = await dialPort(dial, port);
        targets.set(dataChannel, target);
        for (const chunk of early.get(dataChannel) ?? []) target.write(chunk);
        for await (const chunk of target as AsyncIterable<Buffer>) send(dataChannel, chunk);
      } catch (error) {
        send(errorChannel, Buffer.from(`error forwarding port ${port} to pod: ${messageOf(error)}`));
      }
    }),
  );
  socket.close(1000);
}
