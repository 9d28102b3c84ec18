/**
 * The log of one step: lines with the time they came, appended as they come and kept in compressed blocks with an index, so that a
 * part of a long log is read without the rest. A folder holds
 *
 *   blocks         gzip members one after the other, each of whole lines (RFC 1952)
 *   index          one line of JSON for each block
 *   tail.<line>    the lines since the last block as they are, from that line on
 *   end            there when nothing more will come
 *
 * The tail is written before a line counts as taken, so a killed process loses nothing of it; a block counts from the moment that
 * it stands in the index. What a crash left half done is put right when the log is opened again.
 */
import { appendFile, mkdir, open, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { isErrno } from "@kws/base/errors";

export interface Block {
  /** Number of the first line, from 0. */
  line: number;
  lines: number;
  /** Of the first and the last line, milliseconds since the epoch. */
  from: number;
  to: number;
  /** In `blocks`, in bytes. */
  offset: number;
  length: number;
}

export interface LogWriter extends AsyncDisposable {
  /** Resolves when it is in the files: whoever waits for it before writing more needs no memory for what is still to come. */
  write(chunk: Uint8Array | string): Promise<void>;
  /** Says that no more will come. Disposing alone leaves that open. */
  end(): Promise<void>;
}

/** Of the text of a block before it is compressed. */
const blockBytes = 256 * 1024;
/** A longer line is cut into several. */
export const longestLine = 64 * 1024;

const compress = promisify(gzip);
const newline = 0x0a;

/** The lines since the last block. */
interface Tail {
  file: FileHandle;
  line: number;
  lines: number;
  from: number;
  to: number;
  text: Buffer[];
  bytes: number;
}

export interface LogOptions {
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Remove what there is already, because all of it comes again; else the log goes on where it ends. */
  anew?: boolean;
}

/** One writer at a time. */
export async function openLog(folder: string, { clock, anew = false }: LogOptions): Promise<LogWriter> {
  if (anew) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const recovered = await recover(folder);
  let { offset } = recovered;
  let tail = await openTail(folder, recovered.line);
  let rest = Buffer.alloc(0);
  let last: Promise<void> = Promise.resolve();

  const seal = async () => {
    const { line, lines, from, to, file } = tail;
    const bytes = await compress(Buffer.concat(tail.text));
    await appendFile(join(folder, "blocks"), bytes);
    const block: Block = { line, lines, from, to, offset, length: bytes.length };
    await appendFile(join(folder, "index"), `${JSON.stringify(block)}\n`);
    offset += bytes.length;
    await file.close();
    tail = await openTail(folder, line + lines);
    await rm(tailPath(folder, line));
  };
  const take = async (chunk: Buffer, whole: boolean) => {
    const text = Buffer.concat([rest, chunk]);
    const time = clock();
    const stamp = Buffer.from(`${time} `);
    const parts: Buffer[] = [];
    let lines = 0;
    let at = 0;
    while (at < text.length) {
      const end = text.indexOf(newline, at);
      const long = (end < 0 ? text.length : end) - at > longestLine;
      if (end < 0 && !long && !whole) break;
      const to = long ? at + longestLine : end < 0 ? text.length : end;
      parts.push(stamp, text.subarray(at, to), Buffer.from([newline]));
      lines++;
      at = to === end ? to + 1 : to;
    }
    // A copy: the chunk that it is a part of need not stay.
    rest = Buffer.from(text.subarray(at));
    if (lines === 0) return;
    const taken = Buffer.concat(parts);
    await tail.file.appendFile(taken);
    if (tail.lines === 0) tail.from = time;
    tail.to = time;
    tail.lines += lines;
    tail.text.push(taken);
    tail.bytes += taken.length;
    if (tail.bytes >= blockBytes) await seal();
  };
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  return {
    write: (chunk) => inTurn(() => take(Buffer.from(chunk), false)),
    end: () =>
      inTurn(async () => {
        await take(Buffer.alloc(0), true);
        if (tail.lines > 0) await seal();
        await writeFile(join(folder, "end"), "");
      }),
    [Symbol.asyncDispose]: () =>
      inTurn(async () => {
        await tail.file.close();
      }),
  };
}

export function tailPath(folder: string, line: number): string {
  return join(folder, `tail.${line}`);
}

/** The blocks that count; a line that was being written does not. */
export async function readIndex(folder: string): Promise<Block[]> {
  const text = await readText(join(folder, "index"));
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Block);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}

/** Removes what a crash left half done; answers where lines and blocks go on. */
async function recover(folder: string): Promise<{ line: number; offset: number }> {
  const blocks = await readIndex(folder);
  const end = blocks.at(-1);
  const line = end === undefined ? 0 : end.line + end.lines;
  const offset = end === undefined ? 0 : end.offset + end.length;
  const index = await readText(join(folder, "index"));
  if (index !== "" && !index.endsWith("\n")) {
    await truncate(join(folder, "index"), Buffer.byteLength(index.slice(0, index.lastIndexOf("\n") + 1)));
  }
  for (const name of await readdir(folder)) {
    if (name === "blocks") await truncate(join(folder, name), offset);
    else if (name === "end") await rm(join(folder, name));
    else if (name.startsWith("tail.") && name !== `tail.${line}`) await rm(join(folder, name));
  }
  return { line, offset };
}

async function openTail(folder: string, line: number): Promise<Tail> {
  const file = await open(tailPath(folder, line), "a+");
  const text = await file.readFile();
  // A line that was being written is finished as it is.
  if (text.length > 0 && text.at(-1) !== newline) await file.appendFile("\n");
  const times = text
    .toString("latin1")
    .split("\n")
    .filter((one) => one !== "")
    .map((one) => Number.parseInt(one, 10));
  const kept = text.length > 0 && text.at(-1) !== newline ? [text, Buffer.from("\n")] : [text];
  return {
    file,
    line,
    lines: times.length,
    from: times[0] ?? 0,
    to: times.at(-1) ?? 0,
    text: kept,
    bytes: text.length,
  };
}
