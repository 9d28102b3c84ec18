/** Starting, finding and ending the server of this machine, from outside. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "@kws/base/errors";
import { lastLines } from "@kws/base/exec";
import { makeFolder } from "@kws/base/folder";
import { identify, isAlive, signalProcess, waitForExit } from "@kws/base/process";
import { findRunning, logFile, readState, type ServerMessage, tokenFile } from "./state.ts";

export interface ServerStatus {
  state: "running" | "stopped";
  /** Where it answers; while stopped, where it last did. Absent where it was never started. */
  url?: string;
  pid?: number;
  /** RFC 3339. */
  startedAt?: string;
  version?: string;
  /** Resident memory, without the database's. */
  memoryBytes?: number;
  log: string;
}

export interface StartOptions {
  folder: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

const startTimeoutMs = 90_000;
/** Running steps get 10 s, and the database writes a checkpoint. */
const stopTimeoutMs = 60_000;

/** As source in the repository, and as a bundle where the command line was built. */
const extension = extname(new URL(import.meta.url).pathname);
const serverEntry = fileURLToPath(
  new URL(extension === ".ts" ? "./main.ts" : "./server.js", import.meta.url),
);

export async function serverStatus(folder: string): Promise<ServerStatus> {
  const state = await readState(folder);
  const log = logFile(folder);
  if (state === undefined) return { state: "stopped", log };
  const { url, startedAt, version } = state;
  if (!isAlive(state.process)) return { state: "stopped", url, log };
  const { pid } = state.process;
  return { state: "running", url, pid, startedAt, version, memoryBytes: residentBytes(pid), log };
}

/** Runs it with the caller's own output until the signal aborts, or it ends by itself. The exit code. */
export async function runForeground({ env, signal }: Pick<StartOptions, "env" | "signal">): Promise<number> {
  // In a process group of its own: Ctrl-C reaches it through the signal, once.
  const child = spawn(process.execPath, [serverEntry], { detached: true, env, stdio: ["ignore", 2, 2] });
  const end = () => child.kill("SIGTERM");
  signal?.addEventListener("abort", end, { once: true });
  try {
    const [code] = (await once(child, "exit")) as [number | null];
    return code ?? 1;
  } finally {
    signal?.removeEventListener("abort", end);
  }
}

/** Starts it as a process of its own, or answers at once where it runs. Resolves when it takes requests. */
export async function startDetached({ folder, env, signal }: StartOptions): Promise<ServerStatus> {
  if ((await findRunning(folder)) !== undefined) return serverStatus(folder);
  await makeFolder(folder, { mode: 0o700, fix: "Set KWS_HOME to a folder that can be written." });
  const path = logFile(folder);
  const log = openSync(path, "a", 0o600);
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, [serverEntry], {
      cwd: folder,
      detached: true,
      env,
      stdio: ["ignore", log, log, "pipe"],
    });
  } finally {
    closeSync(log);
  }
  try {
    await becomesReady(child, path, signal);
  } catch (error) {
    // Another start was faster.
    if (error instanceof UserError && error.code === "conflict" && (await findRunning(folder)) !== undefined)
      return await serverStatus(folder);
    await giveUp(child);
    throw error;
  } finally {
    child.unref();
    child.stdio[3]?.destroy();
  }
  return serverStatus(folder);
}

function becomesReady(child: ChildProcess, log: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const messages = child.stdio[3];
    if (messages === null || messages === undefined || !("on" in messages))
      throw new Error("no message pipe");
    const finish = (error?: unknown): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      // How it ends later is not its start's business.
      child.off("exit", exited);
      if (error === undefined) resolve();
      else reject(error);
    };
    const aborted = (): void => finish(signal?.reason);
    const exited = (): void => finish(crashed(log));
    const late = (): void =>
      finish(
        new UserError("the server did not become ready in 90 s", { code: "timeout", fix: `See ${log}.` }),
      );
    const timer = setTimeout(late, startTimeoutMs);
    signal?.addEventListener("abort", aborted);
    child.on("error", finish);
    child.on("exit", exited);
    createInterface({ input: messages as NodeJS.ReadableStream }).on("line", (line) => {
      const message = JSON.parse(line) as ServerMessage;
      if (message.type === "ready") finish();
      else finish(new UserError(message.message, { code: message.code, fix: message.fix ?? `See ${log}.` }));
    });
  });
}

function crashed(log: string): UserError {
  const said = lastLines(readFileSync(log, "utf8"), 5);
  return new UserError(`the server's process ended while it was starting:\n${said}`, { fix: `See ${log}.` });
}

async function giveUp(child: ChildProcess): Promise<void> {
  const started = child.pid === undefined ? undefined : identify(child.pid);
  if (started === undefined) return;
  // It ends its database, too.
  child.kill("SIGTERM");
  if (!(await waitForExit(started, 10_000))) child.kill("SIGKILL");
}

/** Ends the server, and its database where it brought one; data is kept. True when there was something to stop. */
export async function stopServer(folder: string): Promise<boolean> {
  const running = await findRunning(folder);
  if (running === undefined || !signalProcess(running.process, "SIGTERM")) return false;
  if (await waitForExit(running.process, stopTimeoutMs)) return true;
  signalProcess(running.process, "SIGKILL");
  return true;
}

/** The token of this machine's own server; undefined where it was never started. */
export async function readLocalToken(folder: string): Promise<string | undefined> {
  const text = await readFile(tokenFile(folder), "utf8").catch(() => "");
  return text.trim() === "" ? undefined : text.trim();
}

/** VmRSS of proc_pid_status(5), in bytes; 0 where the process is gone. */
function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
