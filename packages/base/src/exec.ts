/**
 * Running other programs. Arguments are a list, never a line for a shell, and the environment is what the caller hands
 * over, nothing else.
 */
import type { Readable } from "node:stream";
import { UserError } from "./errors.ts";

export interface ExecOptions {
  cwd?: string;
  /** The whole environment of the child. */
  env: NodeJS.ProcessEnv;
  /** Written to standard input, which is closed otherwise. */
  input?: string | Uint8Array | Readable;
  /** How standard output becomes text: `latin1` keeps every byte as one character, for programs that write no text. */
  encoding?: "utf8" | "latin1";
  /** Ends the child with SIGTERM, and with SIGKILL ten seconds later. */
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
  const { execa } = await import("execa");
  options.signal?.throwIfAborted();
  const child = execa(file, [...args], {
    cwd: options.cwd,
    env: options.env,
    extendEnv: false,
    ...(options.input === undefined ? { stdin: "ignore" as const } : { input: options.input }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    encoding: options.encoding ?? "utf8",
    detached: options.detached ?? false,
    forceKillAfterDelay: 10_000,
    maxBuffer: 64 * 1024 * 1024,
    stripFinalNewline: false,
    reject: false,
    all: true,
  });
  const lines =
    options.onLine === undefined ? undefined : forward(child.iterable({ from: "all" }), options.onLine);
  const result = await child;
  await lines;
  if (result.isCanceled) options.signal?.throwIfAborted();
  if (result.timedOut) {
    throw new UserError(`${file} did not finish within ${options.timeoutMs} ms`, { code: "timeout" });
  }
  if (result.exitCode === undefined && result.signal === undefined) {
    throw notStarted(file, options.cwd, result);
  }
  const exitCode = result.exitCode ?? 128 + (signalNumbers[result.signal ?? ""] ?? 0);
  const stderr =
    options.encoding === "latin1" ? Buffer.from(result.stderr, "latin1").toString() : result.stderr;
  return { exitCode, stdout: result.stdout, stderr };
}

/** Like `exec`, but a non-zero exit is thrown as `ExecError` with the last lines of what the program said. */
export async function run(file: string, args: readonly string[], options: ExecOptions): Promise<ExecResult> {
  const result = await exec(file, args, options);
  if (result.exitCode !== 0) throw new ExecError(file, result);
  return result;
}

const signalNumbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

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

async function forward(lines: AsyncIterable<unknown>, onLine: (line: string) => void): Promise<void> {
  try {
    for await (const line of lines) onLine(String(line));
  } catch (error) {
    // The iteration repeats the child's own failure, which the caller gets from the result.
    if (!(error instanceof Error)) throw error;
  }
}

/** The last lines of a text that are not empty. */
export function lastLines(text: string, count: number): string {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n");
}
