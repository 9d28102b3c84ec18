/**
 * Programs of kws's own that outlive whoever starts them. One line of JSON on their fourth file descriptor says that they are
 * ready, or why they cannot be; all else that they print goes to a log.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type ErrorCode, UserError } from "./errors.ts";
import { lastLines } from "./exec.ts";
import { identify, waitForExit } from "./process.ts";

export type StartMessage =
  | { type: "ready" }
  | { type: "failed"; message: string; code?: ErrorCode; fix?: string };

export interface DetachedOptions {
  /** For errors, such as `the cluster`. */
  what: string;
  /** For Node: the program's path and its arguments. */
  args: string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** The path of its log, which is appended to. */
  log: string;
  timeoutMs: number;
  /** How one is ended that did not become ready; it is killed when that takes longer than its time. */
  giveUp: { signal: NodeJS.Signals; timeoutMs: number };
  signal?: AbortSignal;
}

/** Resolves when it says that it is ready. One that does not become so has ended when this throws. */
export async function startDetached(options: DetachedOptions): Promise<void> {
  const log = openSync(options.log, "a", 0o600);
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, options.args, {
      cwd: options.cwd,
      detached: true,
      env: options.env,
      stdio: ["ignore", log, log, "pipe"],
    });
  } finally {
    closeSync(log);
  }
  try {
    await becomesReady(child, options);
  } catch (error) {
    await giveUp(child, options.giveUp);
    throw error;
  } finally {
    child.unref();
    child.stdio[3]?.destroy();
  }
}

function becomesReady(child: ChildProcess, { what, log, timeoutMs, signal }: DetachedOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const messages = child.stdio[3];
    if (messages === null || messages === undefined || !("on" in messages))
      throw new Error("no message pipe");
    const finish = (error?: unknown): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      // How it ends later is not its start's business, and its log may be gone by then.
      child.off("exit", exited);
      if (error === undefined) resolve();
      else reject(error);
    };
    const aborted = (): void => finish(signal?.reason);
    const exited = (): void => finish(crashed(what, log));
    const late = (): void =>
      finish(
        new UserError(`${what} did not become ready in ${timeoutMs / 1000} s`, {
          code: "timeout",
          fix: `See ${log}.`,
        }),
      );
    const timer = setTimeout(late, timeoutMs);
    signal?.addEventListener("abort", aborted);
    child.on("error", finish);
    child.on("exit", exited);
    createInterface({ input: messages as NodeJS.ReadableStream }).on("line", (line) => {
      const message = JSON.parse(line) as StartMessage;
      if (message.type === "ready") finish();
      else finish(new UserError(message.message, { code: message.code, fix: message.fix ?? `See ${log}.` }));
    });
  });
}

/** What a program says of one that ended before it was ready, or that is gone right after. */
export function crashed(what: string, log: string): UserError {
  const said = lastLines(readFileSync(log, "utf8"), 5);
  return new UserError(`${what} ended while it was starting:\n${said}`, { fix: `See ${log}.` });
}

async function giveUp(child: ChildProcess, { signal, timeoutMs }: DetachedOptions["giveUp"]): Promise<void> {
  const started = child.pid === undefined ? undefined : identify(child.pid);
  if (started === undefined) return;
  child.kill(signal);
  if (await waitForExit(started, timeoutMs)) return;
  child.kill("SIGKILL");
  await waitForExit(started, timeoutMs);
}
