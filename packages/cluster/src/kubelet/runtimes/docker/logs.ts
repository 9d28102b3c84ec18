/**
 * Keeps a container's output in the file that the kubelet reads, from what the engine keeps of it: whoever takes the container
 * over later goes on behind the last line.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import type Docker from "dockerode";
import { isErrno } from "@kws/base/errors";
import { ContainerLog, rotatedPath } from "../sandbox/log.ts";
import { readLines, readMultiplexed, type OutputName } from "./multiplexed.ts";

export interface FollowedLog {
  /** Resolves when the container's output has ended and all of it is written. */
  ended: Promise<void>;
  close(): void;
}

const newline = 0x0a;

export async function followLog(
  container: Docker.Container,
  path: string,
  tty: boolean,
): Promise<FollowedLog> {
  const last = lastStamp(path);
  const stream = (await container.logs({
    follow: true,
    stdout: true,
    stderr: true,
    timestamps: true,
    ...(last === undefined ? {} : { since: sinceOf(last) as unknown as number }),
  })) as unknown as Readable;
  const log = new ContainerLog(path);
  const keep = (from: OutputName, piece: Buffer) => {
    const space = piece.indexOf(" ");
    const stamp = piece.toString("latin1", 0, space);
    // `since` includes its own instant.
    if (last !== undefined && stamp <= last) return;
    const whole = piece.at(-1) === newline;
    log.append(stamp, from, whole ? "F" : "P", piece.subarray(space + 1, whole ? -1 : undefined));
  };
  if (tty) readLines(stream, (line) => keep("stdout", line));
  else readMultiplexed(stream, keep);
  const ended = once(stream, "close").then(
    () => log.close(),
    () => log.close(), // The engine went away; what it still has comes when the log is followed again.
  );
  return { ended, close: () => stream.destroy() };
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
