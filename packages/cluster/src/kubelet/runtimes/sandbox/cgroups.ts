/**
 * Memory and CPU limits by control groups, version 1 or 2, where the machine lets us write them; elsewhere containers run
 * without limits.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface ControlGroup {
  /** Files to which a process writes `0` to join. */
  joinFiles: string[];
  /** How many processes the kernel killed for want of memory. */
  oomKills(): number;
  remove(): void;
}

const root = "/sys/fs/cgroup";
const period = 100_000;

/** The group's folder, per controller; a name unique on the machine, such as a cluster's and a container's. */
export function createControlGroup(
  cluster: string,
  container: string,
  limits: { memory?: number; cpu?: number },
): ControlGroup | undefined {
  if (limits.memory === undefined && limits.cpu === undefined) return undefined;
  const folders: string[] = [];
  const joinFiles: string[] = [];
  let memoryEvents: string | undefined;
  const make = (base: string): string | undefined => {
    const parent = join(base, cluster);
    const folder = join(parent, container);
    try {
      mkdirSync(folder, { recursive: true });
    } catch {
      return undefined; // Not permitted: run without this limit.
    }
    folders.push(folder);
    joinFiles.push(join(folder, "cgroup.procs"));
    return folder;
  };

  if (existsSync(join(root, "cgroup.controllers"))) {
    const base = join(root, ownGroup(""));
    delegate(base);
    try {
      mkdirSync(join(base, cluster), { recursive: true });
    } catch {
      return undefined;
    }
    delegate(join(base, cluster));
    const folder = make(base);
    if (!folder) return undefined;
    if (limits.memory !== undefined) {
      tryWrite(join(folder, "memory.max"), String(limits.memory));
      tryWrite(join(folder, "memory.swap.max"), "0");
    }
    if (limits.cpu !== undefined)
      tryWrite(join(folder, "cpu.max"), `${Math.max(1000, Math.round(limits.cpu * period))} ${period}`);
    memoryEvents = join(folder, "memory.events");
  } else {
    if (limits.memory !== undefined) {
      const folder = make(join(root, "memory", ownGroup("memory")));
      if (folder) {
        tryWrite(join(folder, "memory.limit_in_bytes"), String(limits.memory));
        tryWrite(join(folder, "memory.memsw.limit_in_bytes"), String(limits.memory));
        memoryEvents = join(folder, "memory.oom_control");
      }
    }
    if (limits.cpu !== undefined) {
      const folder = make(join(root, "cpu", ownGroup("cpu")));
      if (folder) {
        tryWrite(join(folder, "cpu.cfs_period_us"), String(period));
        tryWrite(join(folder, "cpu.cfs_quota_us"), String(Math.max(1000, Math.round(limits.cpu * period))));
      }
    }
  }
  if (folders.length === 0) return undefined;
  return {
    joinFiles,
    oomKills() {
      const text = memoryEvents ? tryRead(memoryEvents) : "";
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
    },
    remove() {
      for (const folder of folders) {
        for (const path of [folder, join(folder, "..")]) tryRemove(path);
      }
    },
  };
}

/** Removes what an agent that died left: the groups of a cluster, which are empty once its processes are gone. */
export function removeControlGroups(cluster: string, containers: string[]): void {
  for (const controller of ["", "memory", "cpu"]) {
    const base = join(root, controller, ownGroup(controller), cluster);
    for (const id of containers) tryRemove(join(base, id));
    tryRemove(base);
  }
}

/** The name of a cluster's groups: the same for an agent and its successor. */
export function groupNameOf(dataDir: string): string {
  return `kws-${createHash("sha256").update(dataDir).digest("hex").slice(0, 12)}`;
}

/** The group in which this process itself is, for a controller of version 1 or, with "", for version 2. */
function ownGroup(controller: string): string {
  for (const line of tryRead("/proc/self/cgroup").split("\n")) {
    const [, controllers = "", path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers.split(",").includes(controller)) return path;
  }
  return "/";
}

function delegate(folder: string): void {
  for (const controller of ["+memory", "+cpu", "+pids"])
    tryWrite(join(folder, "cgroup.subtree_control"), controller);
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text);
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
