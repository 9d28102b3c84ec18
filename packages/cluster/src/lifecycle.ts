/**
 * Starting, finding and ending clusters, from outside: each cluster is a folder under `home` and a detached daemon process.
 * Nothing here talks to the Kubernetes API.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, closeSync, openSync, readFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, unlink } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { identify, isAlive, signalProcess, waitForExit, type ProcessIdentity } from "@kws/base/process";
import { daemonEntry } from "./entry.ts";
import { stopAgent } from "./kubelet/runtimes/sandbox/agent-process.ts";
import { preflight } from "./kubelet/runtimes/sandbox/preflight.ts";
import { kubeconfigFile, runtimeFolder, stateFile, type DaemonMessage, type DaemonState } from "./state.ts";

export interface ClusterInfo {
  name: string;
  state: "running" | "stopped";
  /** Where the API server answers, `https://127.0.0.1:PORT`; while stopped, where it last did. */
  apiUrl: string;
  /** The host port of `http://<service>.<stack>.localhost:PORT`. */
  ingressPort: number;
  /** The port that was asked for was taken. */
  ingressPortMoved: boolean;
  kubeconfigPath: string;
  /** Kubernetes version that the API server speaks. */
  version: string;
  pid?: number;
  /** RFC 3339. */
  startedAt?: string;
  /** Resident memory of the cluster's own processes, without the pods'. */
  memoryBytes?: number;
}

export interface ClusterLocation {
  name: string;
  /** The folder that holds all clusters and images of this user. */
  home: string;
}

export interface StartOptions extends ClusterLocation {
  /**
   * Preferred host port of the Ingress: unless given the one it had before, or 8080. The next free one is taken if it is in
   * use.
   */
  ingressPort?: number;
  signal?: AbortSignal;
}

const startTimeoutMilliseconds = 60_000;
/** Containers get 30 s to end; the daemon itself needs a moment more. */
const stopTimeoutMilliseconds = 45_000;

export function clusterFolder({ name, home }: ClusterLocation): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$/.test(name)) {
    throw new UserError(`"${name}" cannot be the name of a cluster`, {
      code: "usage",
      fix: "Use up to 40 lower case letters, digits and hyphens.",
    });
  }
  return join(home, "clusters", name);
}

const imagesFolder = (home: string): string => join(home, "images");

/** Starts the cluster, or answers at once when it runs. Resolves when the API is ready and the node is Ready. */
export async function startCluster(options: StartOptions): Promise<ClusterInfo> {
  const folder = clusterFolder(options);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await using _lock = await lock(folder, options.signal);
  const running = await clusterStatus(options);
  if (running?.state === "running") return running;
  const problem = await preflight();
  if (problem !== undefined) throw problem;

  const logPath = join(folder, "daemon.log");
  const log = openSync(logPath, "a", 0o600);
  const args = [daemonEntry, options.name, folder, imagesFolder(options.home)];
  if (options.ingressPort !== undefined) args.push(String(options.ingressPort));
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, args, {
      cwd: folder,
      detached: true,
      // Nothing of the caller's environment is the cluster's business.
      env: { PATH: process.env["PATH"] },
      stdio: ["ignore", log, log, "pipe"],
    });
  } finally {
    closeSync(log);
  }
  try {
    await daemonIsReady(child, logPath, options.signal);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    child.unref();
    child.stdio[3]?.destroy();
  }
  const info = await clusterStatus(options);
  if (info?.state !== "running") throw crashed(logPath);
  return info;
}

function daemonIsReady(child: ChildProcess, logPath: string, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const messages = child.stdio[3];
    if (messages === null || messages === undefined || !("on" in messages))
      throw new Error("no message pipe");
    const finish = (error?: unknown): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      if (error === undefined) resolve();
      else reject(error);
    };
    const aborted = (): void => finish(signal?.reason);
    const timer = setTimeout(
      () =>
        finish(
          new UserError("the cluster did not become ready in 60 s", {
            code: "timeout",
            fix: `See ${logPath}.`,
          }),
        ),
      startTimeoutMilliseconds,
    );
    signal?.addEventListener("abort", aborted);
    child.on("error", finish);
    child.on("exit", () => finish(crashed(logPath)));
    createInterface({ input: messages as NodeJS.ReadableStream }).on("line", (line) => {
      const message = JSON.parse(line) as DaemonMessage;
      if (message.type === "ready") finish();
      else
        finish(new UserError(message.message, { code: message.code, fix: message.fix ?? `See ${logPath}.` }));
    });
  });
}

function crashed(logPath: string): UserError {
  const tail = readFileSync(logPath, "utf8").trimEnd().split("\n").slice(-5).join("\n");
  return new UserError(`the cluster's process ended while it was starting:\n${tail}`, {
    fix: `See ${logPath}.`,
  });
}

/** Ends the cluster's processes and containers and keeps its state. True when there was something to stop. */
export async function stopCluster(location: ClusterLocation): Promise<boolean> {
  const folder = clusterFolder(location);
  const state = await readState(folder);
  let stopped = false;
  if (state !== undefined && signalProcess(state.daemon, "SIGTERM")) {
    stopped = true;
    if (!(await waitForExit(state.daemon, stopTimeoutMilliseconds))) signalProcess(state.daemon, "SIGKILL");
  }
  // A daemon that was killed leaves its containers running; they end with the agent that holds them.
  return (await stopAgent(runtimeFolder(folder))) || stopped;
}

/** Stops the cluster and deletes all that it stored. True when there was one. */
export async function resetCluster(location: ClusterLocation): Promise<boolean> {
  const folder = clusterFolder(location);
  const existed = (await clusterStatus(location)) !== undefined;
  await stopCluster(location);
  await removeTree(folder);
  return existed;
}

/** Undefined where no cluster of that name was ever started. */
export async function clusterStatus(location: ClusterLocation): Promise<ClusterInfo | undefined> {
  const folder = clusterFolder(location);
  const state = await readState(folder);
  if (state === undefined) return undefined;
  const running = isAlive(state.daemon);
  const info: ClusterInfo = {
    name: location.name,
    state: running ? "running" : "stopped",
    apiUrl: `https://127.0.0.1:${state.apiPort}`,
    ingressPort: state.ingressPort,
    ingressPortMoved: state.ingressPortMoved,
    kubeconfigPath: kubeconfigFile(folder),
    version: state.version,
  };
  if (!running) return info;
  const agentPid = Number(await readFile(join(runtimeFolder(folder), "agent.pid"), "utf8").catch(() => "0"));
  const memoryBytes = residentBytes(state.daemon.pid) + (agentPid > 0 ? residentBytes(agentPid) : 0);
  return { ...info, pid: state.daemon.pid, startedAt: state.startedAt, memoryBytes };
}

export async function listClusters(home: string): Promise<ClusterInfo[]> {
  const names: string[] = await readdir(join(home, "clusters")).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
  const infos = await Promise.all(names.toSorted().map((name) => clusterStatus({ name, home })));
  return infos.filter((info) => info !== undefined);
}

async function readState(folder: string): Promise<DaemonState | undefined> {
  try {
    return JSON.parse(await readFile(stateFile(folder), "utf8")) as DaemonState;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new UserError(`${stateFile(folder)} cannot be read: ${messageOf(error)}`, {
      fix: "Remove the file; `kws cluster start` writes it anew.",
    });
  }
}

/** VmRSS of proc_pid_status(5), in bytes; 0 where the process is gone. */
function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Two starts at once take turns; the lock of a process that died is taken over. */
async function lock(folder: string, signal?: AbortSignal): Promise<AsyncDisposable> {
  const path = join(folder, "start.lock");
  for (;;) {
    signal?.throwIfAborted();
    try {
      const file = await open(path, "wx", 0o600);
      await file.writeFile(JSON.stringify(identify(process.pid)));
      await file.close();
      return { [Symbol.asyncDispose]: () => unlink(path) };
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const holder = await readFile(path, "utf8").catch(() => "");
    if (holder !== "" && !isAlive(JSON.parse(holder) as ProcessIdentity)) await rm(path, { force: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Overlay work folders have no permissions at all, which stops an ordinary user's removal of their own files. */
async function removeTree(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true });
  } catch (error) {
    if (!isErrno(error, "EACCES", "EPERM")) throw error;
    await openFolders(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

async function openFolders(folder: string): Promise<void> {
  chmodSync(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await openFolders(join(folder, entry.name));
  }
}
