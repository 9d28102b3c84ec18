/** stub */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { ServerContext } from "../context.ts";
import type { User } from "../request.ts";
export async function openSession(_c: ServerContext, _i: IncomingMessage, _s: Duplex, _h: Buffer, _w: () => User): Promise<void> {
  throw new Error("not yet");
}
