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
/** Lines of the two outputs may stand in another order than their times; this much is asked for again. */
const overlapMs = 200;

/** A line that is in the file. */
interface Written {
  /** Its output and its time. */
  key: string;
  milliseconds: number;
}

export class EngineLog {
  readonly #container: Docker.Container;
  readonly #tty: boolean;
  readonly #log: ContainerLog;
  /** The last lines, as far back as the overlap. */
  #recent: Written[];
  #following: Readable | undefined;

  constructor(container: Docker.Container, path: string, tty: boolean) {
    this.#container = container;
    this.#tty = tty;
    this.#recent = lastLines(path);
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
    const since = sinceOf(this.#recent);
    return {
      stdout: true,
      stderr: true,
      timestamps: true,
      ...(since === undefined ? {} : { since: since as unknown as number }),
    };
  }

  #keep(stream: Readable): void {
    // Of these each comes once more, and pieces of one long line have the same time.
    const again = new Map<string, number>();
    for (const { key } of this.#recent) again.set(key, (again.get(key) ?? 0) + 1);
    const keep = (from: OutputName, piece: Buffer) => {
      const space = piece.indexOf(" ");
      const stamp = piece.toString("latin1", 0, space);
      const key = `${from} ${stamp}`;
      const count = again.get(key) ?? 0;
      if (count > 0) {
        again.set(key, count - 1);
        return;
      }
      const whole = piece.at(-1) === newline;
      this.#log.append(stamp, from, whole ? "F" : "P", piece.subarray(space + 1, whole ? -1 : undefined));
      this.#recent.push({ key, milliseconds: Date.parse(stamp) });
      // Now and then, lest each line costs a walk through all.
      if (this.#recent.length % 1000 === 0) this.#recent = latest(this.#recent);
    };
    if (this.#tty) readLines(stream, (line) => keep("stdout", line));
    else readMultiplexed(stream, keep);
  }
}

/** The last lines of a log in the CRI format, as far back as the overlap. */
export function lastLines(path: string): Written[] {
  const written: Written[] = [];
  for (const file of [rotatedPath(path), path]) {
    for (const [, stamp = "", from = ""] of readIfThere(file).matchAll(/^(\S+) (stdout|stderr) [FP] /gm))
      written.push({ key: `${from} ${stamp}`, milliseconds: Date.parse(stamp) });
  }
  return latest(written);
}

function latest(written: Written[]): Written[] {
  const from = newest(written) - overlapMs;
  return written.filter(({ milliseconds }) => milliseconds >= from);
}

function newest(written: Written[]): number {
  return written.reduce((most, { milliseconds }) => Math.max(most, milliseconds), 0);
}

/** Where the overlap begins, in seconds since 1970 as the engine takes them; undefined where nothing is written. */
export function sinceOf(written: Written[]): string | undefined {
  return written.length === 0 ? undefined : ((newest(written) - overlapMs) / 1000).toFixed(3);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}
