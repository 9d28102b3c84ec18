/**
 * A container's output as the kubelet reads it back: the CRI log format
 * (https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md), rotated by size.
 * Writes are synchronous: a line is in the page cache before the next is read, so a slow disk slows the container
 * instead of filling the memory or losing lines.
 */
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** containerd's longest line; what is longer comes in several entries tagged `P`. */
const longestLine = 16 * 1024;
const newline = 0x0a;

export const rotateAtBytes = 10 * 1024 * 1024;

/** The file to which a full log is moved; the one before it is dropped. */
export function rotatedPath(path: string): string {
  return `${path}.1`;
}

export class ContainerLog {
  readonly #path: string;
  readonly #rotateAt: number;
  #fd: number;
  #size: number;
  readonly #partial = { stdout: Buffer.alloc(0) as Buffer, stderr: Buffer.alloc(0) as Buffer };

  constructor(path: string, rotateAt: number = rotateAtBytes) {
    mkdirSync(dirname(path), { recursive: true });
    this.#path = path;
    this.#rotateAt = rotateAt;
    this.#fd = openSync(path, "a", 0o640);
    this.#size = fstatSync(this.#fd).size;
  }

  write(stream: "stdout" | "stderr", chunk: Buffer): void {
    const held = this.#partial[stream];
    const data = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const entries: Buffer[] = [];
    const stamp = timestamp();
    let start = 0;
    while (start < data.length) {
      const found = data.indexOf(newline, start);
      const end = found === -1 ? data.length : found;
      if (end - start > longestLine) {
        entries.push(entry(stamp, stream, "P", data.subarray(start, start + longestLine)));
        start += longestLine;
      } else if (found === -1) {
        break;
      } else {
        entries.push(entry(stamp, stream, "F", data.subarray(start, end)));
        start = end + 1;
      }
    }
    this.#partial[stream] = Buffer.from(data.subarray(start));
    this.#append(entries);
  }

  /** Writes an entry whose time is known, in RFC 3339 with nanoseconds; `line` is without its newline. */
  append(stamp: string, stream: "stdout" | "stderr", tag: "F" | "P", line: Buffer): void {
    this.#append([entry(stamp, stream, tag, line)]);
  }

  /** Writes what has no newline at its end, as a partial line, and closes the file. */
  close(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = this.#partial[stream];
      if (rest.length > 0) this.#append([entry(timestamp(), stream, "P", rest)]);
      this.#partial[stream] = Buffer.alloc(0);
    }
    closeSync(this.#fd);
  }

  #append(entries: Buffer[]): void {
    if (entries.length === 0) return;
    const bytes = Buffer.concat(entries);
    let written = 0;
    while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
    this.#size += bytes.length;
    if (this.#size < this.#rotateAt) return;
    closeSync(this.#fd);
    renameSync(this.#path, rotatedPath(this.#path));
    this.#fd = openSync(this.#path, "a", 0o640);
    this.#size = 0;
  }
}

function entry(stamp: string, stream: string, tag: "F" | "P", line: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${stamp} ${stream} ${tag} `), line, Buffer.from("\n")]);
}

/** RFC 3339 with nanoseconds, as far as the clock has them. */
function timestamp(): string {
  const micros = Math.floor((performance.timeOrigin + performance.now()) * 1000);
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = String(micros % 1_000_000).padStart(6, "0");
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}000Z`;
}
