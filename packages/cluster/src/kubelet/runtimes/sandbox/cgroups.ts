/**
 * Limits of memory, CPU and processes by control groups, version 1 or 2, where the machine lets us write them. A cluster
 * has a group, in it each pod, in it each container. Elsewhere containers run without limits of memory and CPU, and
 * `rlimit.ts` bounds their processes.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface ControlGroup {
  /** Files to which a process writes `0` to join. */
  joinFiles: string[];
  /** Whether the pod's processes are limited. */
  limitsProcesses: boolean;
  /** How many processes the kernel killed for want of memory. */
  oomKills(): number;
  remove(): void;
}

export interface Limits {
  /** Bytes. */
  memory?: number;
  /** Cores. */
  cpu?: number;
  /** Of the whole pod. */
  processes: number;
}

const root = "/sys/fs/cgroup";
const period = 100_000;
const controllers = ["memory", "cpu", "pids"];

/** The groups of a container; the names of cluster, pod and container become folders. */
export function createControlGroup(
  cluster: string,
  pod: string,
  container: string,
  limits: Limits,
): ControlGroup {
  const unified = existsSync(join(root, "cgroup.controllers"));
  const folders: string[] = [];
  const make = (controller: string): string | undefined => {
    const base = baseOf(unified ? "" : controller);
    if (!existsSync(join(base, "cgroup.procs"))) return undefined; // No such hierarchy on this machine.
    let folder = base;
    try {
      for (const name of [cluster, pod, container]) {
        if (unified) delegate(folder);
        folder = join(folder, name);
        mkdirSync(folder, { recursive: true });
      }
    } catch {
      return undefined; // Not permitted: run without this limit.
    }
    if (!folders.includes(folder)) folders.push(folder);
    return folder;
  };

  const memory = limits.memory === undefined ? undefined : make("memory");
  if (memory !== undefined) {
    const bytes = String(limits.memory);
    if (unified) {
      tryWrite(join(memory, "memory.max"), bytes);
      tryWrite(join(memory, "memory.swap.max"), "0");
    } else {
      tryWrite(join(memory, "memory.limit_in_bytes"), bytes);
      tryWrite(join(memory, "memory.memsw.limit_in_bytes"), bytes);
    }
  }
  const cpu = limits.cpu === undefined ? undefined : make("cpu");
  if (cpu !== undefined) {
    const quota = Math.max(1000, Math.round((limits.cpu ?? 0) * period));
    if (unified) {
      tryWrite(join(cpu, "cpu.max"), `${quota} ${period}`);
    } else {
      tryWrite(join(cpu, "cpu.cfs_period_us"), String(period));
      tryWrite(join(cpu, "cpu.cfs_quota_us"), String(quota));
    }
  }
  const pids = make("pids");
  const limitsProcesses =
    pids !== undefined && tryWrite(join(pids, "..", "pids.max"), String(limits.processes));
  return {
    joinFiles: folders.map((folder) => join(folder, "cgroup.procs")),
    limitsProcesses,
    oomKills() {
      const text = memory ? tryRead(join(memory, unified ? "memory.events" : "memory.oom_control")) : "";
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
    },
    remove() {
      for (const folder of folders)
        for (const path of [folder, join(folder, ".."), join(folder, "..", "..")]) tryRemove(path);
    },
  };
}

/** Removes what an agent that died left: the groups of a cluster, which are empty once its processes are gone. */
export function removeControlGroups(cluster: string): void {
  for (const controller of ["", ...controllers]) removeTree(join(baseOf(controller), cluster));
}

/** The name of a cluster's groups: the same for an agent and its successor. */
export function groupNameOf(dataDir: string): string {
  return `kws-${createHash("sha256").update(dataDir).digest("hex").slice(0, 12)}`;
}

/** The group in which this process itself is, for a controller of version 1 or, with "", for version 2. */
function baseOf(controller: string): string {
  for (const line of tryRead("/proc/self/cgroup").split("\n")) {
    const [, names = "", path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names.split(",").includes(controller)) return join(root, controller, path);
  }
  return join(root, controller);
}

function delegate(folder: string): void {
  for (const controller of controllers) tryWrite(join(folder, "cgroup.subtree_control"), `+${controller}`);
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: "r+" });
    return true;
  } catch {
    return false; // Best effort by contract: the caller runs without the limit.
  }
}

function tryRead(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function tryRemove(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Still in use by another container, or never made.
  }
}

/** A group's files are the kernel's: only the folders are removed. */
function removeTree(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  tryRemove(folder);
}
