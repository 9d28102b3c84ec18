/**
 * What containers use, by what /proc says of their processes: control groups would say it too, but not every machine has them.
 * A command that was run in a container from outside, such as by `kubectl exec`, is not counted.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { ContainerUsage } from "../../runtime.ts";

export interface ContainerRoot {
  sandboxId: string;
  name: string;
  /** Its first process. */
  pid: number;
}

interface Process {
  parent: number;
  cpuSeconds: number;
  memoryBytes: number;
}

/** As Linux has them on every machine that Node runs on (`sysconf(_SC_CLK_TCK)`, and pages of x86 and most of arm64). */
const ticksPerSecond = 100;
const pageSize = 4096;

export function measureContainers(roots: ContainerRoot[]): ContainerUsage[] {
  const processes = readProcesses();
  const childrenOf = new Map<number, number[]>();
  for (const [pid, { parent }] of processes) {
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), pid]);
  }
  return roots.map(({ sandboxId, name, pid }) => {
    let [cpuSeconds, memoryBytes] = [0, 0];
    const queue = [pid];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      cpuSeconds += processes.get(next)?.cpuSeconds ?? 0;
      memoryBytes += processes.get(next)?.memoryBytes ?? 0;
      queue.push(...(childrenOf.get(next) ?? []));
    }
    return { sandboxId, name, cpuSeconds, memoryBytes };
  });
}

function readProcesses(): Map<number, Process> {
  const found = new Map<number, Process>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      found.set(Number(entry), parseStat(readFileSync(`/proc/${entry}/stat`, "utf8")));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** `proc_pid_stat(5)`; the time of children that have been waited for is the parent's. */
export function parseStat(text: string): Process {
  // The name of the program may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3] ?? 0);
  return {
    parent: field(4),
    cpuSeconds: (field(14) + field(15) + field(16) + field(17)) / ticksPerSecond,
    memoryBytes: field(24) * pageSize,
  };
}
