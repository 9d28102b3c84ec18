/** The engine's stream of several outputs in one: eight bytes of head, of which the first says which and the last four how much. */
import type { Readable } from "node:stream";

const head = 8;
const stderrType = 2;

export type OutputName = "stdout" | "stderr";

/** Calls back for each piece as the engine wrote it. */
export function readMultiplexed(stream: Readable, onPiece: (from: OutputName, piece: Buffer) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= head) {
      const length = pending.readUInt32BE(4);
      if (pending.length < head + length) return;
      const from = pending.readUInt8(0) === stderrType ? "stderr" : "stdout";
      const piece = pending.subarray(head, head + length);
      pending = pending.subarray(head + length);
      onPiece(from, piece);
    }
  });
}

/** The same of a terminal, which has one output: calls back for whole lines, and at the end for the rest. */
export function readLines(stream: Readable, onLine: (line: Buffer) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf("\n"); end !== -1; end = pending.indexOf("\n")) {
      onLine(pending.subarray(0, end + 1));
      pending = pending.subarray(end + 1);
    }
  });
  stream.once("end", () => {
    if (pending.length > 0) onLine(pending);
  });
}
