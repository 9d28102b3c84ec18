/** What a test's container says: all of it into a file up to a limit, and its end in memory, however much and however long the lines. */
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { UserError } from "@kws/base/errors";
import { pathOf } from "@kws/kube/client";
import { pods } from "@kws/kube/resources";
import type { Connection } from "../providers/provider.ts";

export interface OutputSource {
  namespace: string;
  pod: string;
  container: string;
}

export interface CapturedOutput {
  /** The last lines. */
  tail(count: number): string[];
  /** True where the file holds the beginning alone. */
  cut(): boolean;
  /** Resolves when the container has ended and all of it is read. */
  done: Promise<void>;
}

export interface OutputOptions {
  file: string;
  onLine: (text: string) => void;
  /** Gets all of it, whatever the file's limit; no more is read until it has taken it. */
  onOutput?: ((chunk: Uint8Array) => Promise<void>) | undefined;
  signal: AbortSignal;
}

const fileLimit = 32 * 1024 * 1024;
const tailLimit = 32 * 1024;

/** Follows a container's output into the file. `onLine` gets the newest line now and then, for a display. */
export function captureOutput(
  connection: Connection,
  source: OutputSource,
  { file, onLine, onOutput, signal }: OutputOptions,
): CapturedOutput {
  let tail = "";
  let size = 0;
  const lines = () => tail.split("\n").filter((line) => line.trim() !== "");
  const read = async () => {
    const query = new URLSearchParams({ container: source.container, follow: "true" });
    const path = `${pathOf(pods, source.namespace, source.pod, "log")}?${query.toString()}`;
    const response = await connection.transport.request({
      method: "GET",
      path,
      headers: { accept: "*/*" },
      signal,
    });
    if (response.status !== 200) {
      throw new UserError(`the output of the tests cannot be read: HTTP ${response.status}`, {
        code: response.status === 403 ? "permission" : "failed",
      });
    }
    const decoder = new TextDecoder();
    const stream = createWriteStream(file);
    const closed = once(stream, "close");
    // Waited for at the end, where it is thrown.
    closed.catch(() => undefined);
    try {
      for await (const chunk of response.body) {
        const kept = chunk.subarray(0, Math.max(0, fileLimit - size));
        size += chunk.length;
        if (kept.length > 0 && !stream.write(kept)) await once(stream, "drain");
        await onOutput?.(chunk);
        tail = (tail + decoder.decode(chunk, { stream: true })).slice(-tailLimit);
        const last = lines().at(-1);
        if (last !== undefined) onLine(last);
      }
    } finally {
      stream.end();
      await closed;
    }
  };
  return { tail: (count) => lines().slice(-count), cut: () => size > fileLimit, done: read() };
}
