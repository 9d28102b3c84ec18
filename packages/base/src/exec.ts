/**
 * Running other programs. Arguments are a list, never a line for a shell, and the environment is what the caller hands
 * over, nothing else.
 */
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { isErrno, UserError } from "./errors.ts";

export interface ExecOptions {
  cwd?: string;
  /** The whole environment of the child. */
  env: NodeJS.ProcessEnv;
  /** Written to standard input, which is closed otherwise. */
  input?: string | Uint8Array | Readable;
  /** How standard output becomes text: `latin1` keeps every byte as one character, for programs that write no text. */
  encoding?: "utf8" | "latin1";
  /** Ends the child with SIGTERM, and with SIGKILL ten seconds later; with `detached`, also what it has started. */
  signal?: AbortSignal;
  timeoutMs?: number;
  /** Every line of standard output and standard error as it arrives. */
  onLine?: (line: string) => void;
  /** In a process group of its own, so that Ctrl-C in the terminal reaches it only through `signal`. */
  detached?: boolean;
}

export interface ExecResult {
  /** 128 + the signal's number when a signal ended the program, as shells count. */
  exitCode: number;
  stdout: string;
  stderr: string;
}

export class ExecError extends UserError {
  override name = "ExecError";
  readonly result: ExecResult;

  constructor(program: string, result: ExecResult) {
    const last = lastLines(result.stderr || result.stdout, 5);
    super(`${program} failed with exit code ${result.exitCode}${last === "" ? "" : `: ${last}`}`);
    this.result = result;
  }
}

/** Runs a program to its end, whatever its exit code. Throws `tool-missing` when there is no such program. */
export async function exec(file: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const { spawn } = await import("node:child_process");
  const { signal, input, timeoutMs, encoding = "utf8" } = options;
  signal?.throwIfAborted();
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env,
    detached: options.detached ?? false,
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", (error) => reject(notStarted(file, options.cwd, error)));
    child.once("close", (code, by) => resolve(code ?? 128 + (constants.signals[by ?? "SIGKILL"] ?? 0)));
  });
  let stopped: Error | undefined;
  let killing: NodeJS.Timeout | undefined;
  const kill = (signal: NodeJS.Signals) => {
    if (options.detached !== true || child.pid === undefined) child.kill(signal);
    else signalGroup(child.pid, signal);
  };
  const end = (reason?: Error) => {
    stopped ??= reason;
    kill("SIGTERM");
    killing ??= setTimeout(() => kill("SIGKILL"), killAfterMs);
  };
  child.once("exit", () => {
    if (killing === undefined) return;
    // What it has started may hold its outputs open for as long as it likes.
    child.stdout.destroy();
    child.stderr.destroy();
  });
  const late = () => end(new UserError(`${file} did not finish within ${timeoutMs} ms`, { code: "timeout" }));
  const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
  const cancel = () => end();
  signal?.addEventListener("abort", cancel, { once: true });
  const collect = (stream: Readable): Uint8Array[] => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    stream.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxOutput) chunks.push(chunk);
      else end(new UserError(`${file} wrote more than ${maxOutput / 2 ** 20} MiB`));
    });
    if (options.onLine !== undefined) forwardLines(stream, options.onLine);
    return chunks;
  };
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  // A program may end without having read everything: its exit code says whether that was well.
  child.stdin.on("error", () => undefined);
  if (isStream(input)) input.on("error", end).pipe(child.stdin);
  else child.stdin.end(input);
  try {
    const exitCode = await ended;
    signal?.throwIfAborted();
    if (stopped !== undefined) throw stopped;
    return {
      exitCode,
      stdout: Buffer.concat(stdout).toString(encoding),
      stderr: Buffer.concat(stderr).toString(),
    };
  } finally {
    clearTimeout(timer);
    clearTimeout(killing);
    signal?.removeEventListener("abort", cancel);
    if (isStream(input)) input.destroy();
  }
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}

function isStream(input: ExecOptions["input"]): input is Readable {
  return typeof input === "object" && "pipe" in input;
}

/** From SIGTERM to SIGKILL. */
const killAfterMs = 10_000;
/** Bytes of each of a program's two outputs. */
const maxOutput = 64 * 2 ** 20;

/** Like `exec`, but a non-zero exit is thrown as `ExecError` with the last lines of what the program said. */
export async function run(file: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const result = await exec(file, args, options);
  if (result.exitCode !== 0) throw new ExecError(file, result);
  return result;
}

function notStarted(file: string, cwd: string | undefined, error: unknown): UserError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOENT") {
    return new UserError(
      `${file} cannot be started: it is not installed${cwd === undefined ? "" : `, or ${cwd} is missing`}`,
      {
        code: "tool-missing",
        cause: error,
      },
    );
  }
  if (code === "EACCES") {
    return new UserError(`${file} cannot be started: permission denied`, {
      code: "permission",
      cause: error,
    });
  }
  return new UserError(`${file} cannot be started`, { cause: error });
}

function forwardLines(stream: Readable, onLine: (line: string) => void): void {
  const decoder = new StringDecoder();
  let rest = "";
  stream.on("data", (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
  stream.once("end", () => {
    if (rest !== "") onLine(rest);
  });
}

/** The last lines of a text that are not empty. */
export function lastLines(text: string, count: number): string {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n");
}
