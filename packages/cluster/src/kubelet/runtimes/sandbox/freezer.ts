/**
 * Makes all of a cluster's containers stand still, and go on, by SIGSTOP and SIGCONT: control groups could do it unseen, and an
 * ordinary user has none.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { sendSignal } from "./processes.ts";

/** A process that waits for a disk stops once that has answered. */
const stopTimeoutMs = 10_000;
const continueTimeoutMs = 2000;

export class Freezer {
  #frozen: PromiseWithResolvers<void> | undefined;
  /** Those that were running, in the order in which they were stopped. */
  #stopped: number[] = [];
  readonly #starts = new Set<Promise<unknown>>();

  /** Does what may start processes, once nothing is frozen; whoever freezes waits for its end. */
  async starting<T>(work: () => Promise<T>): Promise<T> {
    await this.thawed();
    const start = work();
    this.#starts.add(start);
    try {
      return await start;
    } finally {
      this.#starts.delete(start);
    }
  }

  /** Resolves at once where nothing is frozen. */
  async thawed(): Promise<void> {
    while (this.#frozen !== undefined) await this.#frozen.promise;
  }

  /** Resolves when every process but this one and the first stands still. */
  async freeze(): Promise<void> {
    if (this.#frozen !== undefined) throw new Error("the containers stand still already");
    this.#frozen = Promise.withResolvers();
    try {
      await Promise.allSettled(this.#starts);
      const deadline = performance.now() + stopTimeoutMs;
      while (this.#frozen !== undefined && this.#stopMore()) {
        if (performance.now() > deadline) throw new Error("not all processes could be stopped");
        await delay(2);
      }
    } catch (error) {
      await this.thaw();
      throw error;
    }
  }

  async thaw(): Promise<void> {
    // Children first: a parent that sees one stopped stops itself, as nsenter and unshare do, or tells people, as shells do.
    const stopped = this.#stopped.toReversed();
    this.#stopped = [];
    const deadline = performance.now() + continueTimeoutMs;
    for (let still = stopped; still.length > 0 && performance.now() < deadline;) {
      for (const pid of still) sendSignal(pid, "SIGCONT");
      await delay(2);
      still = still.filter((pid) => stateOf(pid) === "T");
    }
    this.#frozen?.resolve();
    this.#frozen = undefined;
  }

  /** True where there was one that did not stand still yet. */
  #stopMore(): boolean {
    const known = new Set(this.#stopped);
    let running = false;
    for (const pid of otherProcesses()) {
      const state = stateOf(pid);
      // Stopped by somebody else, or dead.
      if (state === undefined || "TtZX".includes(state)) continue;
      running = true;
      if (known.has(pid)) continue;
      if (sendSignal(pid, "SIGSTOP")) this.#stopped.push(pid);
    }
    return running;
  }
}

/** Of this PID namespace, parents before their children as a rule. */
function otherProcesses(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== 1 && pid !== process.pid)
    .toSorted((a, b) => a - b);
}

/** The letter of proc_pid_stat(5); undefined where the process is gone. */
function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.charAt(stat.lastIndexOf(")") + 2);
  } catch {
    return undefined;
  }
}
