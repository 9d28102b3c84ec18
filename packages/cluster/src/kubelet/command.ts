/** Runs a command in a container to its end, for exec probes and hooks. */
import type { Readable } from "node:stream";
import { within } from "./dial.ts";
import type { Runtime } from "./runtime.ts";

/** The exit code and at most 10 KiB of what it said. The command is ended when the time is over or the signal aborts. */
export async function runCommand(
  runtime: Runtime,
  containerId: string,
  argv: string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<{ code: number; output: string }> {
  const session = await runtime.exec(containerId, { argv, tty: false, stdin: false });
  let output = "";
  const collect = (stream: Readable) => {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      if (output.length < 10_240) output += text;
    });
    // The exit code tells of the failure.
    stream.on("error", () => {});
  };
  collect(session.stdout);
  collect(session.stderr);
  try {
    const code = await within(session.exit, timeoutMs, signal);
    return { code, output: output.slice(0, 10_240) };
  } catch (error) {
    session.close();
    throw error;
  }
}
