/** Finding and ending processes by what /proc says of them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Children of a process; empty once it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Sends the signal; false where the process is gone. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** The name of a process's mount namespace. */
function mountNamespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

/** Kills every process in a mount namespace: what is left of a container whose PID namespace it shared. */
export function killMountNamespace(name: string): void {
  for (const entry of readdirSync("/proc")) {
    if (/^\d+$/.test(entry) && mountNamespaceOf(Number(entry)) === name) sendSignal(Number(entry), "SIGKILL");
  }
}
