/** Whether a container that has ended runs again, and how long it waits until then. */
import { formatDuration } from "./backoff.ts";
import type { KubeletContext } from "./context.ts";
import { formatPod, isSidecar, type Pod, type PodContainer } from "./pod.ts";
import type { ContainerRun } from "./record.ts";

export type Kind = "init" | "regular" | "ephemeral";

/** By the pod's restart policy (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy). */
export function restarts(pod: Pod, container: PodContainer, run: ContainerRun, kind: Kind): boolean {
  const policy = pod.spec.restartPolicy ?? "Always";
  if (kind === "ephemeral") return false;
  if (isSidecar(container)) return true;
  // The machine has forgotten what the init container had prepared: it runs again.
  if (kind === "init" && run.remembered && policy !== "Never") return true;
  if (kind === "init") return run.exitCode !== 0 && policy !== "Never";
  return policy === "Always" || (policy === "OnFailure" && run.exitCode !== 0);
}

/** How long it has to wait still; undefined when it may start now, after which the next wait is longer. */
export function crashBackOff(
  { crashes, now }: KubeletContext,
  pod: Pod,
  container: PodContainer,
  run: ContainerRun,
): { milliseconds: number; message: string } | undefined {
  const key = `${pod.metadata.uid}/${container.name}`;
  const since = Date.parse(run.finishedAt ?? "");
  if (Number.isNaN(since)) return undefined;
  const milliseconds = crashes.remaining(key, since, now());
  if (milliseconds === 0) {
    crashes.advance(key, since, now());
    return undefined;
  }
  const what = `failed container=${container.name} pod=${formatPod(pod)}`;
  return { milliseconds, message: `back-off ${formatDuration(crashes.delay(key))} restarting ${what}` };
}
