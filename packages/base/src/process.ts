/**
 * Processes that outlive the one that started them. A pid alone may have been given to somebody else since, so an identity
 * is a pid with the moment it started.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { isErrno } from "./errors.ts";

export interface ProcessIdentity {
  pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat (proc_pid_stat(5)); without /proc, seconds since 1970. */
  startTicks: number;
}

/** Undefined where there is no such process. A zombie counts as gone. */
export function identify(pid: number): ProcessIdentity | undefined {
  if (process.platform !== "linux") return identifyByPs(pid);
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The command name, in parentheses, may hold anything: the fields start after the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return { pid, startTicks: Number(fields[19]) };
}

/** For systems without /proc: what ps(1) says of the process. */
export function identifyByPs(pid: number): ProcessIdentity | undefined {
  const { stdout } = spawnSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], {
    env: { PATH: "/bin:/usr/bin", LC_ALL: "C" },
    encoding: "utf8",
  });
  const [, state = "Z", started = ""] = /^\s*(\S+)\s+(.*\S)\s*$/.exec(stdout ?? "") ?? [];
  return state.startsWith("Z") ? undefined : { pid, startTicks: Date.parse(started) / 1000 };
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks;
}

/**
 * `host/<pid namespace>/<pid>/<start>`: one word for a process that is the same for everybody who sees it, and tells whoever is
 * on the same machine whether it is gone.
 */
export function processName(host: string, pid: number): string {
  return `${host}/${pidNamespace()}/${pid}/${identify(pid)?.startTicks ?? 0}`;
}

/** True only where that is certain: the process of that name was of this machine, and is no more. */
export function isGone(name: string, host: string): boolean {
  return isRunning(name, host) === false;
}

/** Whether the process of that name is there, running or stopped; undefined where only another machine can tell. */
export function isRunning(name: string, host: string): boolean | undefined {
  const process = processOf(name, host);
  if (process === undefined) return undefined;
  return process.startTicks === 0 ? isThere(process.pid) : isAlive(process);
}

/** The process of that name; undefined where it is of another machine. */
export function processOf(name: string, host: string): ProcessIdentity | undefined {
  const match = /^([^/]*)\/(\d+)\/(\d+)\/(\d+)$/.exec(name);
  if (match === null || match[1] !== host || match[2] !== pidNamespace()) return undefined;
  return { pid: Number(match[3]), startTicks: Number(match[4]) };
}

/** For systems that do not tell when a process began: any process of that number counts. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, "ESRCH");
  }
}

function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    // Not Linux: process numbers are the machine's.
    return "0";
  }
}

/** Sends a signal to exactly this process; false where it is gone. */
export function signalProcess(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** True once the process is gone, false where it still lives after the timeout. */
export async function waitForExit(target: ProcessIdentity, timeoutMilliseconds: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMilliseconds;
  while (isAlive(target)) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}

/** Resident memory, by VmRSS of proc_pid_status(5); 0 where the process is gone, or the system has no /proc. */
export function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
