/** Reading a log, also while it is written: from a line on, those that hold a text, and what comes as it comes. */
import { access, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { isErrno } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { type Block, readIndex, tailPath } from "./store.ts";

export interface StoredLine {
  /** From 0. */
  line: number;
  /** When it came, milliseconds since the epoch. */
  time: number;
  text: string;
}

export interface ReadOptions {
  /** The first line to read; 0 unless given. */
  from?: number;
  /** How many lines at most. */
  limit?: number;
  /** Only lines that hold this text. */
  grep?: string;
  /** Until the log has ended, or the signal aborts. */
  follow?: boolean;
  /** Asked by `follow`: whether no more will come, also of a log that does not say so because its writer is no more. */
  isOver?: () => Promise<boolean>;
  signal?: AbortSignal;
}

/** How soon what another process writes is seen. */
const pollMs = 100;
const decompress = promisify(gunzip);

/** Of a log that is not there: nothing. No more than one block is in memory at a time. */
export async function* readLog(folder: string, options: ReadOptions = {}): AsyncGenerator<StoredLine> {
  const { limit = Number.POSITIVE_INFINITY, grep, signal } = options;
  if (limit <= 0) return;
  let count = 0;
  for await (const line of allLines(folder, options)) {
    if (grep !== undefined && !line.text.includes(grep)) continue;
    yield line;
    if (++count >= limit || signal?.aborted === true) return;
  }
}

async function* allLines(folder: string, options: ReadOptions): AsyncGenerator<StoredLine> {
  const { follow = false, signal, isOver } = options;
  let next = options.from ?? 0;
  for (;;) {
    const ended = (await exists(join(folder, "end"))) || (follow && (await isOver?.()) === true);
    const blocks = await readIndex(folder);
    for (const block of blocks) {
      if (block.line + block.lines <= next) continue;
      for (const line of linesOf(await readBlock(folder, block), block.line)) {
        if (line.line < next) continue;
        yield line;
        next = line.line + 1;
      }
    }
    const last = blocks.at(-1);
    const tailLine = last === undefined ? 0 : last.line + last.lines;
    const tail = await readTail(folder, tailLine);
    for (const line of linesOf(tail ?? "", tailLine)) {
      if (line.line < next) continue;
      yield line;
      next = line.line + 1;
    }
    // Without its tail it was made a block since the index was read, and is there now.
    const moved = tail === undefined && (await movedOn(folder, tailLine));
    if (signal?.aborted === true || (!moved && (ended || !follow))) return;
    if (moved) continue;
    await sleep(pollMs, signal).catch((error: unknown) => {
      if (signal?.aborted !== true) throw error;
    });
  }
}

async function movedOn(folder: string, tailLine: number): Promise<boolean> {
  const last = (await readIndex(folder)).at(-1);
  return last !== undefined && last.line + last.lines > tailLine;
}

/** Whole lines only. */
function* linesOf(text: string, first: number): Generator<StoredLine> {
  const lines = text.split("\n").slice(0, -1);
  for (const [index, one] of lines.entries()) {
    const space = one.indexOf(" ");
    yield { line: first + index, time: Number(one.slice(0, space)), text: one.slice(space + 1) };
  }
}

async function readBlock(folder: string, { offset, length }: Block): Promise<string> {
  await using file = await open(join(folder, "blocks"));
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, offset);
  return (await decompress(bytes)).toString();
}

async function readTail(folder: string, line: number): Promise<string | undefined> {
  try {
    return await readFile(tailPath(folder, line), "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
