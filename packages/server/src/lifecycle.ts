/** Starting, finding and ending the server of this machine, from outside. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { startDetached } from "@kws/base/detached";
import { UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { isAlive, residentBytes, signalProcess, waitForExit } from "@kws/base/process";
import { findRunning, logFile, readState, tokenFile } from "./state.ts";

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
export async function startInBackground({ folder, env, signal }: StartOptions): Promise<ServerStatus> {
  if ((await findRunning(folder)) !== undefined) return serverStatus(folder);
  await makeFolder(folder, { mode: 0o700, fix: "Set KWS_HOME to a folder that can be written." });
  try {
    await startDetached({
      what: "the server",
      args: [serverEntry],
      cwd: folder,
      env,
      log: logFile(folder),
      timeoutMs: startTimeoutMs,
      // It ends its database, too.
      giveUp: { signal: "SIGTERM", timeoutMs: 10_000 },
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    // Another start was faster.
    const raced = error instanceof UserError && error.code === "conflict";
    if (!raced || (await findRunning(folder)) === undefined) throw error;
  }
  return serverStatus(folder);
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
