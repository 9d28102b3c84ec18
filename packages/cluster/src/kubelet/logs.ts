/**
 * Reads container logs in the CRI format, `<RFC 3339 nano> stdout|stderr F|P <text>`
 * (https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md), without holding a whole file.
 */
import { watch } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isErrno } from "@kws/base/errors";
import { rotatedPath } from "./runtimes/sandbox/log.ts";

export interface ReadLogOptions {
  tailLines?: number;
  /** Milliseconds since the epoch; older lines are left out. */
  since?: number;
  timestamps?: boolean;
  limitBytes?: number;
  /** Keep reading while this says that the container runs. */
  follow?: {
    isRunning(): boolean;
    /** Resolves at the container's exit. */ exited: Promise<unknown>;
    signal?: AbortSignal;
  };
}

const chunkBytes = 64 * 1024;
const newline = 0x0a;

/** The log's text in pieces of whole lines. */
export async function* readLog(path: string, options: ReadLogOptions): AsyncGenerator<Uint8Array> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  for await (const line of linesFrom(path, options)) {
    const text = formatLine(line, options);
    if (text === undefined) continue;
    const piece = text.length > left ? text.subarray(0, left) : text;
    left -= piece.length;
    yield piece;
    if (left <= 0) return;
  }
}

async function* linesFrom(path: string, options: ReadLogOptions): AsyncGenerator<Buffer> {
  const { follow, tailLines } = options;
  let file = await open(path, "r");
  try {
    let position = tailLines === undefined ? 0 : await tailOffset(file, tailLines);
    using changes = follow ? notifications(path, follow.exited, follow.signal) : undefined;
    for (;;) {
      // Both asked before reading: what was written before the container ended, or the log was rotated, is then read for certain.
      const more = follow !== undefined && !follow.signal?.aborted && follow.isRunning();
      const next = follow === undefined ? undefined : await rotatedFrom(path, file);
      position = yield* linesOf(file, position);
      if (next !== undefined) {
        await file.close();
        [file, position] = [next, 0];
      } else if (more) await changes?.next();
      else return;
    }
  } finally {
    await file.close();
  }
}

/** To the present end of the file; answers where that is. */
async function* linesOf(file: FileHandle, from: number): AsyncGenerator<Buffer, number> {
  let position = from;
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    const buffer = Buffer.alloc(chunkBytes);
    const { bytesRead } = await file.read(buffer, 0, chunkBytes, position);
    // An entry that is being written is read when it is whole.
    if (bytesRead === 0) return position - rest.length;
    position += bytesRead;
    rest =
      rest.length === 0
        ? buffer.subarray(0, bytesRead)
        : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    let end: number;
    while ((end = rest.indexOf(newline)) >= 0) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
  }
}

/**
 * The file in which the log goes on after the one that is read; undefined where that is the newest. After two rotations it is the
 * one before the newest, and what more rotations dropped is lost.
 */
async function rotatedFrom(path: string, file: FileHandle): Promise<FileHandle | undefined> {
  const { ino } = await file.stat();
  const newest = await inodeOf(path);
  if (newest === undefined || newest === ino) return undefined;
  const before = await inodeOf(rotatedPath(path));
  return open(before === ino || before === undefined ? path : rotatedPath(path), "r");
}

/** Undefined where there is no such file. */
async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Where the last `count` lines begin. */
export async function tailOffset(file: FileHandle, count: number): Promise<number> {
  const { size } = await file.stat();
  if (count <= 0) return size;
  let found = 0;
  let end = size;
  while (end > 0) {
    const start = Math.max(0, end - chunkBytes);
    const buffer = Buffer.alloc(end - start);
    await file.read(buffer, 0, buffer.length, start);
    for (let at = buffer.length - 1; at >= 0; at -= 1) {
      // The file's own last newline ends the last line and begins none.
      if (buffer[at] !== newline || start + at === size - 1) continue;
      found += 1;
      if (found === count) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

/** Undefined for lines that are too old or not in the format. */
function formatLine(line: Buffer, { since, timestamps }: ReadLogOptions): Buffer | undefined {
  const stampEnd = line.indexOf(" ");
  if (stampEnd < 0) return undefined;
  const stamp = line.toString("latin1", 0, stampEnd);
  if (since !== undefined && Date.parse(stamp) < since) return undefined;
  const streamEnd = line.indexOf(" ", stampEnd + 1);
  const tagEnd = line.indexOf(" ", streamEnd + 1);
  if (streamEnd < 0 || tagEnd < 0) return undefined;
  const partial = line.toString("latin1", streamEnd + 1, tagEnd).startsWith("P");
  const text = line.subarray(tagEnd + 1);
  const prefix = timestamps ? Buffer.from(`${stamp} `) : Buffer.alloc(0);
  return Buffer.concat([prefix, text, Buffer.from(partial ? "" : "\n")]);
}

/** `next` resolves when the file has changed since the last call, the container has exited or the signal has aborted. */
function notifications(path: string, exited: Promise<unknown>, signal: AbortSignal | undefined) {
  let pending = false;
  let wake: (() => void) | undefined;
  const notify = () => {
    pending = true;
    wake?.();
  };
  const name = basename(path);
  const watcher = watch(dirname(path), { persistent: false }, (_, file) => {
    if (file === null || file === name) notify();
  });
  watcher.on("error", notify);
  void exited.then(notify, notify);
  signal?.addEventListener("abort", notify, { once: true });
  return {
    async next(): Promise<void> {
      if (!pending) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
      pending = false;
      wake = undefined;
    },
    [Symbol.dispose]() {
      watcher.close();
      signal?.removeEventListener("abort", notify);
    },
  };
}

/** The end of a log, for a termination message that falls back on it: at most 80 lines and 2048 bytes. */
export async function readLogEnd(path: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readLog(path, { tailLines: 80 })) chunks.push(chunk);
  return Buffer.concat(chunks).subarray(-2048).toString("utf8");
}
