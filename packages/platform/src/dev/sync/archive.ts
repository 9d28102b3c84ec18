/**
 * tar archives as a stream: those that GNU tar, busybox and toybox write and read. A library would do for names of UTF-8; names
 * here are bytes, and lengths must be known before the first of them is sent.
 * Format: https://www.gnu.org/software/tar/manual/html_node/Standard.html, POSIX pax for what is read besides.
 */
import type { Entry, Kind } from "./entry.ts";

const block = 512;

/** The header of one entry, with those for a long name or target before it. */
export function header(path: string, entry: Entry, target = ""): Buffer {
  const name = `./${path}`;
  const long = [
    ...(target.length > 100 ? [longText("K", target)] : []),
    ...(name.length > 100 ? [longText("L", name)] : []),
  ];
  const type = { file: "0", link: "2", folder: "5" }[entry.kind];
  const size = entry.kind === "file" ? entry.size : 0;
  return Buffer.concat([...long, plain(name, type, { ...entry, size }, target)]);
}

/** What follows the content, so that the next header begins at a multiple of 512. */
export function padding(size: number, multiple: number = block): Buffer {
  return Buffer.alloc((multiple - (size % multiple)) % multiple);
}

/** Two empty blocks, and what it takes to a multiple of a size. */
export function trailer(size: number, multiple: number): Buffer {
  const end = 2 * block;
  return Buffer.concat([Buffer.alloc(end), padding(size + end, multiple)]);
}

function longText(type: "K" | "L", text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`, "latin1");
  const head = plain("././@LongLink", type, { size: bytes.length, mtime: 0, mode: 0 }, "");
  return Buffer.concat([head, bytes, padding(bytes.length)]);
}

function plain(
  name: string,
  type: string,
  entry: { size: number; mtime: number; mode: number },
  target: string,
): Buffer {
  const bytes = Buffer.alloc(block);
  bytes.write(name.slice(0, 100), 0, "latin1");
  octal(bytes, entry.mode, 100, 8);
  octal(bytes, 0, 108, 8);
  octal(bytes, 0, 116, 8);
  octal(bytes, entry.size, 124, 12);
  octal(bytes, Math.max(0, Math.floor(entry.mtime / 1000)), 136, 12);
  bytes.fill(" ", 148, 156);
  bytes.write(type, 156, "latin1");
  bytes.write(target.slice(0, 100), 157, "latin1");
  bytes.write("ustar  \0", 257, "latin1");
  octal(bytes, sum(bytes), 148, 7);
  return bytes;
}

/** Octal digits and a NUL; where they do not suffice, GNU's binary form. */
function octal(bytes: Buffer, value: number, at: number, length: number): void {
  const text = value.toString(8).padStart(length - 1, "0");
  if (text.length < length) {
    bytes.write(`${text}\0`, at, "latin1");
    return;
  }
  bytes.writeUInt8(0x80, at);
  bytes.writeUIntBE(value, at + length - 6, 6);
}

function sum(bytes: Buffer): number {
  let total = 0;
  for (const byte of bytes) total += byte;
  return total;
}

export interface ArchiveMember {
  path: string;
  kind: Kind;
  size: number;
  mtime: number;
  mode: number;
  /** Of a link. */
  target: string;
  /** Of a file; what is not read of it is passed over. */
  content: AsyncIterable<Buffer>;
}

/** Reads archives that follow each other. Ends where the bytes end; an incomplete member throws. */
export async function* members(archive: AsyncIterable<Buffer>): AsyncGenerator<ArchiveMember> {
  const source = new ByteSource(archive);
  let longName: string | undefined;
  let longTarget: string | undefined;
  for (;;) {
    const head = await source.take(block);
    if (head === undefined) return;
    if (head.every((byte) => byte === 0)) continue;
    if (!isHeader(head)) throw new Error("the far side sent no valid archive");
    const size = number(head, 124, 12);
    const type = head.toString("latin1", 156, 157);
    if (type === "L" || type === "K" || type === "x" || type === "g") {
      const text = (await source.takeAll(size)).toString("latin1");
      if (type === "L") longName = untilNul(text);
      if (type === "K") longTarget = untilNul(text);
      if (type === "x") {
        longName = paxValue(text, "path") ?? longName;
        longTarget = paxValue(text, "linkpath") ?? longTarget;
      }
      continue;
    }
    const kind = ({ "0": "file", "\0": "file", "7": "file", "2": "link", "5": "folder" } as const)[type];
    const prefix =
      head.toString("latin1", 257, 263) === "ustar\0" ? untilNul(head.toString("latin1", 345, 500)) : "";
    const short = untilNul(head.toString("latin1", 0, 100));
    const name = longName ?? (prefix === "" ? short : `${prefix}/${short}`);
    const content = source.content(size);
    if (kind !== undefined) {
      yield {
        path: name.replace(/^\.\//, "").replace(/\/$/, ""),
        kind,
        size: kind === "file" ? size : 0,
        mtime: number(head, 136, 12) * 1000,
        mode: number(head, 100, 8) & 0o777,
        target: longTarget ?? untilNul(head.toString("latin1", 157, 257)),
        content,
      };
    }
    for await (const _chunk of content) {
      // Not wanted.
    }
    longName = undefined;
    longTarget = undefined;
  }
}

function isHeader(head: Buffer): boolean {
  const copy = Buffer.from(head);
  copy.fill(" ", 148, 156);
  return sum(copy) === number(head, 148, 8);
}

function number(bytes: Buffer, at: number, length: number): number {
  if ((bytes[at]! & 0x80) !== 0) return bytes.readUIntBE(at + length - 6, 6);
  return Number.parseInt(untilNul(bytes.toString("latin1", at, at + length)).trim() || "0", 8);
}

function untilNul(text: string): string {
  const end = text.indexOf("\0");
  return end === -1 ? text : text.slice(0, end);
}

/** Records of `length key=value\n`. */
function paxValue(text: string, key: string): string | undefined {
  let found: string | undefined;
  for (let at = 0; at < text.length;) {
    const length = Number.parseInt(text.slice(at), 10);
    if (!(length > 0)) break;
    const record = text.slice(at, at + length - 1);
    const equals = record.indexOf("=");
    if (record.slice(record.indexOf(" ") + 1, equals) === key) found = record.slice(equals + 1);
    at += length;
  }
  return found;
}

class ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Undefined at the end. */
  async take(length: number): Promise<Buffer | undefined> {
    while (this.#rest.length < length) {
      const next = await this.#chunks.next();
      if (next.done === true) {
        if (this.#rest.length === 0) return undefined;
        throw new Error("the far side sent an incomplete archive");
      }
      this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    }
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  /** With the padding passed over. For names: at most a megabyte. */
  async takeAll(size: number): Promise<Buffer> {
    if (size > 1024 * 1024) throw new Error("the far side sent a name of more than a megabyte");
    const chunks: Buffer[] = [];
    for await (const chunk of this.content(size)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Can be iterated again to pass over what was not read. */
  content(size: number): AsyncIterable<Buffer> {
    let left = size;
    let skip = (block - (size % block)) % block;
    const next = async (): Promise<IteratorResult<Buffer>> => {
      if (left > 0) {
        const chunk = await this.some(left);
        left -= chunk.length;
        return { done: false, value: chunk };
      }
      if (skip > 0) await this.take(skip);
      skip = 0;
      return { done: true, value: undefined };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  /** At least one byte and at most so many. */
  async some(atMost: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new Error("the far side sent an incomplete archive");
      this.#rest = next.value;
    }
    const taken = this.#rest.subarray(0, atMost);
    this.#rest = this.#rest.subarray(taken.length);
    return taken;
  }
}
