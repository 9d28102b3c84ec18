/**
 * The limit of processes where no control group may be written, which is where an ordinary user runs the cluster. The
 * kernel counts by user (setrlimit(2), RLIMIT_NPROC) and, since Linux 5.14, apart in each user namespace: all containers of
 * the cluster share it, and those with a user of their own have another one each. It does not bind the machine's root.
 */
import { readFileSync } from "node:fs";

/** The share of the user's own limit that containers may have, so that the agent can always start what ends them. */
const share = 0.75;

/** Words before a command that bound it and all that it starts. */
export function limitProcesses(most: number): string[] {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const hard = Number(/^Max processes +\S+ +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const limit = Math.min(most, Math.floor(hard * share));
  return ["prlimit", `--nproc=${limit}:${limit}`];
}
