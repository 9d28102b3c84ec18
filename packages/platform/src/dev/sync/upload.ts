/** From here to the far side: archives of a few megabytes, each acknowledged, and large files on their own, as a stream. */
import { closeSync, constants, createReadStream, fstatSync, openSync, readlinkSync, readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { messageOf } from "@kws/base/errors";
import { header, padding, trailer } from "./archive.ts";
import { type Entry, readable } from "./entry.ts";
import { extract, listSome, replace } from "./far.ts";
import { absolute, entryOf, isRefusal, lookAt } from "./scan.ts";
import { blockSize, type Payload, type Session } from "./session.ts";

export interface Uploaded {
  /** What was sent, as it was when it was read. */
  sent: Map<string, Entry>;
  /** Why other paths did not arrive. Those that were gone when their turn came are in neither. */
  failed: Map<string, string>;
  bytes: number;
}

/** Bytes of an archive, and of the largest file that is read whole. */
const archiveSize = 4 * 1024 * 1024;
const smallFile = 1024 * 1024;
/** Files that take their places one by one, by renaming. */
const fewFiles = 200;
/** Files between two turns for others: reading is synchronous, which for many small files is much faster. */
const slice = 100;

/** Folders must come before what is in them. */
export async function upload(session: Session, root: string, paths: string[]): Promise<Uploaded> {
  const result: Uploaded = { sent: new Map(), failed: new Map(), bytes: 0 };
  let piece = new Piece();
  const send = async (): Promise<void> => {
    if (piece.entries.size > 0) await piece.send(session, result);
    piece = new Piece();
  };
  for (const [index, path] of paths.entries()) {
    if (index % slice === slice - 1) await setImmediate();
    try {
      const large = piece.add(root, path);
      if (large !== undefined) {
        await send();
        await sendLarge(session, path, large, result);
      } else if (piece.length > archiveSize) await send();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (!["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"].includes(error.code ?? "")) {
        result.failed.set(path, `it cannot be read: ${messageOf(error)}`);
      }
    }
  }
  await send();
  return result;
}

/** An archive in the making. */
class Piece {
  readonly entries = new Map<string, Entry>();
  readonly #chunks: Buffer[] = [];
  length = 0;

  /** Returns the open file where it is too large to be read whole. */
  add(root: string, path: string): { file: number; entry: Entry } | undefined {
    const found = lookAt(root, path)?.entry;
    if (found === undefined) return undefined;
    if (found.kind === "folder") this.#put(path, found, header(path, found));
    if (found.kind === "link") {
      const target = readlinkSync(absolute(root, path), { encoding: "latin1" });
      this.#put(path, found, header(path, { ...found, size: target.length }, target));
    }
    if (found.kind !== "file") return undefined;
    // Never through a link that took the file's place, and never waiting for the other end of a pipe.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = openSync(absolute(root, path), flags);
    let keep = false;
    try {
      const entry = entryOf(fstatSync(file));
      if (entry?.kind !== "file") return undefined;
      if (entry.size > smallFile) {
        keep = true;
        return { file, entry };
      }
      const content = Buffer.alloc(entry.size);
      const size = readWhole(file, content);
      const head = header(path, { ...entry, size });
      this.#put(path, { ...entry, size }, head, content.subarray(0, size), padding(size));
    } finally {
      if (!keep) closeSync(file);
    }
    return undefined;
  }

  #put(path: string, entry: Entry, ...chunks: Buffer[]): void {
    this.entries.set(path, entry);
    for (const chunk of chunks) {
      this.#chunks.push(chunk);
      this.length += chunk.length;
    }
  }

  async send(session: Session, result: Uploaded): Promise<void> {
    const end = trailer(this.length, blockSize);
    const bytes = Buffer.concat([...this.#chunks, end]);
    await deliver(session, { length: bytes.length, chunks: [bytes] }, this.entries, result);
  }
}

function readWhole(file: number, into: Buffer): number {
  let size = 0;
  while (size < into.length) {
    const count = readSync(file, into, size, into.length - size, null);
    if (count === 0) break;
    size += count;
  }
  return size;
}

async function sendLarge(
  session: Session,
  path: string,
  { file, entry }: { file: number; entry: Entry },
  result: Uploaded,
): Promise<void> {
  const head = header(path, entry);
  const tail = trailer(head.length + entry.size + padding(entry.size).length, blockSize);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield head;
    let left = entry.size;
    const stream = createReadStream("", { fd: file, end: entry.size - 1, highWaterMark: 256 * 1024 });
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      left -= chunk.length;
      yield chunk;
    }
    // Shorter by now: it has changed, and comes again.
    for (; left > 0; left -= Math.min(left, smallFile)) yield Buffer.alloc(Math.min(left, smallFile));
    yield padding(entry.size);
    yield tail;
  }
  const length = head.length + entry.size + padding(entry.size).length + tail.length;
  await deliver(session, { length, chunks: chunks() }, new Map([[path, entry]]), result);
}

async function deliver(
  session: Session,
  archive: Payload,
  entries: Map<string, Entry>,
  result: Uploaded,
): Promise<void> {
  // Many at once are a beginning or another branch, which nothing but the files themselves can make whole.
  const few = entries.size <= fewFiles && [...entries.values()].every(({ kind }) => kind !== "folder");
  const problem = await (few ? replace : extract)(session, archive);
  const arrived = problem === undefined ? undefined : await listSome(session, [...entries.keys()]);
  for (const [path, entry] of entries) {
    if (problem === undefined || hasArrived(entry, arrived?.get(path))) {
      result.sent.set(path, entry);
      if (entry.kind === "file") result.bytes += entry.size;
    } else result.failed.set(path, lineAbout(problem, path));
  }
}

function hasArrived(entry: Entry, there: Entry | undefined): boolean {
  if (there?.kind !== entry.kind) return false;
  return entry.kind !== "file" || (there.size === entry.size && there.mtime === seconds(entry.mtime));
}

/** What is known of an entry after it was sent. */
export function asSent(entry: Entry): Entry {
  return entry.kind === "folder" ? entry : { ...entry, mtime: seconds(entry.mtime), ctime: undefined };
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}

function lineAbout(problem: string, path: string): string {
  const lines = problem.split("\n");
  const own = lines.find((line) => line.includes(readable(path)));
  return own ?? lines[0] ?? problem;
}
