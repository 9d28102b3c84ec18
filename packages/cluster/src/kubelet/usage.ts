/**
 * How much processor time and memory the node and its containers use: measured when somebody asks, so that a cluster that is
 * left alone does nothing. A rate needs two measurements with some time between them.
 */
import { cpus, freemem, totalmem } from "node:os";
import { readFile } from "node:fs/promises";
import { sleep } from "@kws/base/retry";
import type { ContainerUsage, Runtime } from "./runtime.ts";

export interface Amount {
  /** Cores, on average over the window. */
  cpu: number;
  /** Bytes. */
  memory: number;
}

export interface Usage {
  /** Milliseconds since the epoch, of the end of the window. */
  time: number;
  windowSeconds: number;
  node: Amount;
  /** By the pod's uid, then by the container's name. */
  pods: Map<string, Map<string, Amount>>;
}

interface Sample {
  time: number;
  nodeCpuSeconds: number;
  nodeMemory: number;
  containers: ContainerUsage[];
}

/** Windows in milliseconds: shorter ones say little, longer ones nothing of now. */
const shortest = 400;
const longest = 60_000;

export function usageMeter(
  runtime: Pick<Runtime, "usage">,
  { now, signal }: { now: () => number; signal: AbortSignal },
): () => Promise<Usage> {
  let last: Sample | undefined;
  let measuring: Promise<Usage> | undefined;
  const sample = async (): Promise<Sample> => ({
    time: now(),
    nodeCpuSeconds: busySeconds(),
    nodeMemory: await usedMemory(),
    containers: (await runtime.usage?.()) ?? [],
  });
  const measure = async () => {
    let before = last;
    if (before === undefined || now() - before.time > longest) before = await sample();
    const wait = shortest - (now() - before.time);
    if (wait > 0) await sleep(wait, signal);
    last = await sample();
    return between(before, last);
  };
  // Those who ask at once share one answer.
  return () => (measuring ??= measure().finally(() => (measuring = undefined)));
}

export function between(before: Sample, after: Sample): Usage {
  const windowSeconds = (after.time - before.time) / 1000;
  const rate = (from: number, to: number) => Math.max(0, to - from) / windowSeconds;
  const pods: Usage["pods"] = new Map();
  for (const { sandboxId, name, cpuSeconds, memoryBytes } of after.containers) {
    const old = before.containers.find((one) => one.sandboxId === sandboxId && one.name === name);
    // One that was started anew begins at nothing.
    const from = old === undefined || old.cpuSeconds > cpuSeconds ? 0 : old.cpuSeconds;
    const pod = pods.get(sandboxId) ?? new Map<string, Amount>();
    pods.set(sandboxId, pod.set(name, { cpu: rate(from, cpuSeconds), memory: memoryBytes }));
  }
  const node = { cpu: rate(before.nodeCpuSeconds, after.nodeCpuSeconds), memory: after.nodeMemory };
  return { time: after.time, windowSeconds, node, pods };
}

/** Of all cores of the machine together. */
function busySeconds(): number {
  const busy = cpus().map(({ times }) => times.user + times.nice + times.sys + times.irq);
  return busy.reduce((sum, milliseconds) => sum + milliseconds, 0) / 1000;
}

/** What programs could not have, in bytes: caches can be freed. */
async function usedMemory(): Promise<number> {
  const text = await readFile("/proc/meminfo", "utf8").catch(() => "");
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1];
  return totalmem() - (available === undefined ? freemem() : Number(available) * 1024);
}
