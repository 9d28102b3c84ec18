/**
 * Starting, finding and ending clusters, from outside: each cluster is a folder under `home` and a detached daemon process.
 * Nothing here talks to the Kubernetes API.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { link, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crashed, startDetached } from "@kws/base/detached";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import {
  identify,
  isAlive,
  residentBytes,
  signalProcess,
  waitForExit,
  type ProcessIdentity,
} from "@kws/base/process";
import { registryVariables } from "@kws/oci/environment";
import { daemonEntry } from "./entry.ts";
import { removeTree } from "./images/unpack.ts";
import {
  chooseRuntime,
  isHeld,
  readChoice,
  resetRuntime,
  runtimeProblem,
  stopRuntime,
  usualRuntime,
  writeChoice,
} from "./kubelet/runtimes/choice.ts";
import type { RuntimeName } from "./kubelet/runtimes/cluster-runtime.ts";
import { isPending, putInPlace } from "./snapshots/pending.ts";
import { removeSocket } from "./sockets.ts";
import {
  apiServerSocket,
  controlSocket,
  kubeconfigFile,
  runtimeFile,
  runtimeFolder,
  stateFile,
  type DaemonState,
} from "./state.ts";

export interface ClusterInfo {
  name: string;
  state: "running" | "stopped";
  /** What runs its containers. */
  runtime: RuntimeName;
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
  /** Why it is stopped, where nobody asked for that. */
  problem?: string;
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
  /** Unless given the one it had before, or that of this kind of machine. Changes with the start of a stopped cluster. */
  runtime?: RuntimeName;
  /** The caller's environment: what pulling images needs of it reaches the cluster, nothing else. */
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

const what = "the cluster's process";
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

export const imagesFolder = (home: string): string => join(home, "images");

/** Starts the cluster, or answers at once when it runs. Resolves when the API is ready and the node is Ready. */
export async function startCluster(options: StartOptions): Promise<ClusterInfo> {
  await using _lock = await lockCluster(options, options.signal);
  return await startLocked(options);
}

/** For whoever holds the lock. */
export async function startLocked(options: StartOptions): Promise<ClusterInfo> {
  const folder = clusterFolder(options);
  await finishRestore(options);
  const running = await clusterStatus(options);
  if (running?.state === "running") return running;
  const heldBefore = await settleRuntime(options);

  const log = join(folder, "daemon.log");
  const args = [daemonEntry, options.name, folder, imagesFolder(options.home)];
  if (options.ingressPort !== undefined) args.push(String(options.ingressPort));
  try {
    await startDetached({
      what,
      args,
      cwd: folder,
      env: Object.fromEntries(registryVariables.map((name) => [name, options.env[name]])),
      log,
      timeoutMs: startTimeoutMilliseconds,
      giveUp: { signal: "SIGKILL", timeoutMs: 5000 },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (error) {
    // One that was there before is for the next start to take over.
    if (!heldBefore) await stopRuntime(await readChoice(runtimeFile(folder)), runtimeFolder(folder));
    throw error;
  }
  const info = await clusterStatus(options);
  if (info?.state !== "running") throw crashed(what, log);
  return info;
}

/**
 * Writes down which runtime the cluster is to have, and ends what an earlier one of another kind has left. True where what
 * holds containers of the same kind is there already. Throws what is missing for it.
 */
async function settleRuntime(options: StartOptions): Promise<boolean> {
  const folder = clusterFolder(options);
  const [file, dataDir] = [runtimeFile(folder), runtimeFolder(folder)];
  const before = await readChoice(file);
  const name =
    options.runtime ?? (existsSync(file) || existsSync(stateFile(folder)) ? before.name : usualRuntime);
  const choice = await chooseRuntime(name, options.env);
  const problem = await runtimeProblem(choice);
  if (problem !== undefined) throw problem;
  const same = JSON.stringify(before) === JSON.stringify(choice);
  if (!same && existsSync(dataDir)) {
    await stopRuntime(before, dataDir);
    await resetRuntime(before, dataDir);
  }
  await writeChoice(file, choice);
  return same && (await isHeld(choice, dataDir));
}

/** What a restore that was killed has left to do. */
export async function finishRestore(location: ClusterLocation): Promise<void> {
  const folder = clusterFolder(location);
  if (!isPending(folder)) return;
  await end(folder, "SIGQUIT");
  // Containers of the state that is replaced.
  await resetRuntime(await readChoice(runtimeFile(folder)), runtimeFolder(folder));
  await putInPlace(folder, imagesFolder(location.home));
}

/**
 * Ends the cluster's processes and containers and keeps its state; containers get the time that they ask for, at most 30 s.
 * True when there was something to stop.
 */
export async function stopCluster(location: ClusterLocation): Promise<boolean> {
  const folder = clusterFolder(location);
  if (!existsSync(folder)) return false;
  await using _lock = await lockCluster(location);
  return await end(folder, "SIGTERM");
}

/** SIGTERM leaves containers the time that they ask for, SIGQUIT ends them at once. */
async function end(folder: string, signal: "SIGTERM" | "SIGQUIT"): Promise<boolean> {
  const daemon = await findDaemon(folder);
  let stopped = false;
  if (daemon !== undefined && signalProcess(daemon, signal)) {
    stopped = true;
    if (!(await waitForExit(daemon, stopTimeoutMilliseconds))) signalProcess(daemon, "SIGKILL");
  }
  for (const socket of [apiServerSocket(folder), controlSocket(folder)]) await removeSocket(socket);
  // A daemon that was killed leaves its containers running; they end with what holds them.
  return (await stopRuntime(await readChoice(runtimeFile(folder)), runtimeFolder(folder))) || stopped;
}

/** The cluster's process, also where the file that names it is gone or broken. */
async function findDaemon(folder: string): Promise<ProcessIdentity | undefined> {
  const state = await readState(folder).catch(() => undefined);
  if (state !== undefined) return state.daemon;
  if (process.platform !== "linux") return undefined; // No /proc to look through.
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const words = (await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "")).split("\0");
    if (words[1] === daemonEntry && words[3] === folder) return identify(Number(entry));
  }
  return undefined;
}

/** Stops the cluster and deletes all that it stored. True when there was one. */
export async function resetCluster(location: ClusterLocation): Promise<boolean> {
  const folder = clusterFolder(location);
  if (!existsSync(folder)) return false;
  const existed = existsSync(stateFile(folder));
  await using _lock = await lockCluster(location);
  await end(folder, "SIGQUIT");
  await resetRuntime(await readChoice(runtimeFile(folder)), runtimeFolder(folder));
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
    runtime: (await readChoice(runtimeFile(folder))).name,
    apiUrl: `https://127.0.0.1:${state.apiPort}`,
    ingressPort: state.ingressPort,
    ingressPortMoved: state.ingressPortMoved,
    kubeconfigPath: kubeconfigFile(folder),
    version: state.version,
  };
  if (!running) {
    const problem = await whyStopped(folder, state);
    return problem === undefined ? info : { ...info, problem };
  }
  const agentPid = Number(await readFile(join(runtimeFolder(folder), "agent.pid"), "utf8").catch(() => "0"));
  const memoryBytes = residentBytes(state.daemon.pid) + (agentPid > 0 ? residentBytes(agentPid) : 0);
  return {
    ...info,
    pid: state.daemon.pid,
    startedAt: state.startedAt,
    ...(memoryBytes > 0 ? { memoryBytes } : {}),
  };
}

async function whyStopped(folder: string, { ended }: DaemonState): Promise<string | undefined> {
  if (ended === "") return undefined;
  const what = ended ?? "the cluster's process was killed, or the machine was restarted";
  const containersRun = await isHeld(await readChoice(runtimeFile(folder)), runtimeFolder(folder));
  return containersRun ? `${what}; its containers run on, and the next start takes them over` : what;
}

export async function listClusters(home: string): Promise<ClusterInfo[]> {
  const names = await clusterNames(home);
  const infos = await Promise.all(names.toSorted().map((name) => clusterStatus({ name, home })));
  return infos.filter((info) => info !== undefined);
}

/** Also one that has never become ready. */
export async function anyCluster(home: string): Promise<boolean> {
  return (await clusterNames(home)).length > 0;
}

function clusterNames(home: string): Promise<string[]> {
  return readdir(join(home, "clusters")).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
}

async function readState(folder: string): Promise<DaemonState | undefined> {
  try {
    const state = JSON.parse(await readFile(stateFile(folder), "utf8")) as Partial<DaemonState> | null;
    if (typeof state?.daemon?.pid !== "number" || typeof state.apiPort !== "number")
      throw new Error("it does not say what runs");
    return state as DaemonState;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new UserError(`${stateFile(folder)} cannot be read: ${messageOf(error)}`, {
      fix: "Remove the file; the next start writes it anew.",
    });
  }
}

/**
 * Starts, stops, resets, snapshots and restores of one cluster take turns. The lock is a file that names its holder; it appears whole, and that
 * of a process that died is taken over.
 */
export async function lockCluster(location: ClusterLocation, signal?: AbortSignal): Promise<AsyncDisposable> {
  const folder = clusterFolder(location);
  const path = join(folder, "start.lock");
  const mine = `${path}.${process.pid}.${randomUUID()}`;
  for (;;) {
    signal?.throwIfAborted();
    try {
      // Whoever held the lock may have removed the cluster.
      await makeFolder(folder, { mode: 0o700, fix: "Choose another home for clusters." });
      await writeFile(mine, JSON.stringify(identify(process.pid)), { mode: 0o600 });
      await link(mine, path);
      return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    } catch (error) {
      if (!isErrno(error, "EEXIST", "ENOENT")) throw error;
    } finally {
      await rm(mine, { force: true }).catch(() => undefined); // Where its folder is gone, so is the file.
    }
    await removeStale(path, mine);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function removeStale(path: string, aside: string): Promise<void> {
  const held = (text: string): boolean => {
    try {
      return isAlive(JSON.parse(text) as ProcessIdentity);
    } catch {
      return false; // What a machine that lost its power left.
    }
  };
  try {
    if (held(await readFile(path, "utf8"))) return;
    // A rename has one winner; if another process has taken the lock over just before, it gets it back.
    await rename(path, aside);
    if (held(await readFile(aside, "utf8"))) await link(aside, path);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "EEXIST")) throw error;
  } finally {
    await rm(aside, { force: true });
  }
}
