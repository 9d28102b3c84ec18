/** How containers are asked to end: in which order, with which hook, in how much time. */
import { messageOf } from "@kws/base/errors";
import { runHook } from "./hooks.ts";
import { isSidecar, type Pod, type PodContainer } from "./pod.ts";
import type { ProbeTarget } from "./probes.ts";
import { allContainers } from "./record.ts";

/** Hooks may use up the whole grace period; then there are these seconds left. */
const leastSeconds = 2;

/** Regular, init and ephemeral containers together, then sidecars, the last one first, all within the same time. */
export async function stopInOrder(
  pod: Pod,
  graceSeconds: number,
  stop: (container: PodContainer, secondsLeft: number) => Promise<void>,
): Promise<void> {
  const began = performance.now();
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar);
  const others = allContainers(pod).filter((container) => !sidecars.includes(container));
  const left = () => Math.min(graceSeconds, secondsLeft(graceSeconds, began));
  await Promise.all(others.map((container) => stop(container, left())));
  for (const sidecar of sidecars.toReversed()) await stop(sidecar, left());
}

/** Runs the hook and stops the container, which may still run for a moment. */
export async function endRun(
  target: ProbeTarget,
  graceSeconds: number,
  warn: (reason: string, message: string) => void,
): Promise<void> {
  const began = performance.now();
  const hook = target.container.lifecycle?.preStop;
  if (hook !== undefined && graceSeconds > 0) {
    try {
      await runHook(hook, target, graceSeconds * 1000, new AbortController().signal);
    } catch (error) {
      warn("FailedPreStopHook", `PreStopHook failed: ${messageOf(error)}`);
    }
  }
  const most = Math.max(graceSeconds, leastSeconds);
  await target.runtime.stopContainer(target.containerId, Math.min(secondsLeft(graceSeconds, began), most));
}

function secondsLeft(graceSeconds: number, began: number): number {
  if (graceSeconds === 0) return 0;
  return Math.max(leastSeconds, graceSeconds - (performance.now() - began) / 1000);
}
