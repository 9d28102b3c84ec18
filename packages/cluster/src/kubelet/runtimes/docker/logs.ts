/**
 * Keeps a container's output in the file that the kubelet reads, from what the engine keeps of it: whoever takes the container
 * over later goes on behind the last line.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import type Docker from "dockerode";
import { isErrno } from "@kws/base/errors";
import { ContainerLog, rotatedPath } from "../sandbox/log.ts";
import { readLines, readMultiplexed, type OutputName } from "./multiplexed.ts";

const newline = 0x0a;
/** The engine's stream ends with the container, unless it never does. */
const endMs = 5000;

export class EngineLog {
  readonly #container: Docker.Container;
  readonly #tty: boolean;
  readonly #log: ContainerLog;
  #last: string | undefined;
  #following: Readable | undefined;

  constructor(container: Docker.Container, path: string, tty: boolean) {
    this.#container = container;
    this.#tty = tty;
    this.#last = lastStamp(path);
    this.#log = new ContainerLog(path);
  }

  /** Resolves when output is kept as it comes. */
  async follow(): Promise<void> {
    const answer: unknown = await this.#container.logs({ ...this.#question(), follow: true });
    this.#following = answer as Readable;
    this.#keep(this.#following);
  }

  /** Once the container has ended: keeps the rest and closes the file. */
  async finish(): Promise<void> {
    const stream = this.#following;
    if (stream !== undefined && !stream.closed) {
      const timer = setTimeout(() => stream.destroy(), endMs);
      await once(stream, "close").catch(() => undefined); // The engine went away; what it has comes below.
      clearTimeout(timer);
    }
    // Engines before 25 may end the stream before the last lines are through.
    const rest = Readable.from([await this.#container.logs({ ...this.#question(), follow: false })]);
    this.#keep(rest);
    await once(rest, "close");
    this.#log.close();
  }

  close(): void {
    this.#following?.destroy();
  }

  #question() {
    const since = this.#last === undefined ? {} : { since: sinceOf(this.#last) as unknown as number };
    return { stdout: true, stderr: true, timestamps: true, ...since };
  }

  #keep(stream: Readable): void {
    const keep = (from: OutputName, piece: Buffer) => {
      const space = piece.indexOf(" ");
      const stamp = piece.toString("latin1", 0, space);
      // What was asked for since an instant includes it.
      if (this.#last !== undefined && stamp <= this.#last) return;
      const whole = piece.at(-1) === newline;
      this.#log.append(stamp, from, whole ? "F" : "P", piece.subarray(space + 1, whole ? -1 : undefined));
      this.#last = stamp;
    };
    if (this.#tty) readLines(stream, (line) => keep("stdout", line));
    else readMultiplexed(stream, keep);
  }
}

/** The time of the last line in a log of the CRI format, in RFC 3339 with nanoseconds. */
export function lastStamp(path: string): string | undefined {
  for (const file of [path, rotatedPath(path)]) {
    const stamp = /(?:^|\n)(\S+) (?:stdout|stderr) [FP] [^\n]*\n?$/.exec(readIfThere(file))?.[1];
    if (stamp !== undefined) return stamp;
  }
  return undefined;
}

/** Seconds since 1970 with the nanoseconds behind a point, as the engine takes them. */
export function sinceOf(stamp: string): string {
  const nanoseconds = /\.(\d+)Z$/.exec(stamp)?.[1] ?? "0";
  return `${Math.floor(Date.parse(stamp) / 1000)}.${nanoseconds.padEnd(9, "0")}`;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}
