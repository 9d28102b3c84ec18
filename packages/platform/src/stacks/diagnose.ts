/**
 * Why a service will not become ready, from what the kubelet says of its pods. Only what waiting cannot mend counts: a first
 * crash or a first failed pull does not.
 */
import type { KubeObject } from "@kws/kube/object";
import { conditionOf } from "@kws/kube/readiness";
import { hasFailed, type NamespaceObjects, hookJobs, isOwned, type Workload } from "../services/workloads.ts";

export interface Diagnosis {
  /** Kubernetes' own word: `CrashLoopBackOff`, `ErrImagePull`, `Unhealthy`, … */
  reason: string;
  /** One sentence or a few. */
  message: string;
  pod?: string;
  container?: string;
  /** The culprit's last words are those of the container that ended before the present one. */
  previous?: boolean;
}

interface ContainerStatus {
  name: string;
  ready?: boolean;
  started?: boolean;
  restartCount?: number;
  image?: string;
  state?: {
    waiting?: { reason?: string; message?: string };
    running?: { startedAt?: string };
    terminated?: { reason?: string; exitCode?: number; message?: string };
  };
  lastState?: { terminated?: { reason?: string; exitCode?: number; message?: string } };
}

interface Probe {
  initialDelaySeconds?: number;
  periodSeconds?: number;
  failureThreshold?: number;
}

/** Waiting does not mend these. */
const hopeless = new Set([
  "ErrImageNeverPull",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
  "ImagePullBackOff",
]);

/** How long a pod may stay unschedulable, in milliseconds. */
const unschedulableMs = 15_000;
/**
 * How long a container may be unready once it runs, in milliseconds, beyond the time that its probes themselves allow
 * (initialDelaySeconds + periodSeconds × failureThreshold of the startup and the readiness probe). A program that needs longer
 * says so with a startup probe.
 */
const unreadyMs = 20_000;

/**
 * Pods of an older template that are broken and keep their StatefulSet from going on. Only their removal helps.
 */
export function stuckPods(workloads: Workload[], now: number): { pod: KubeObject; fault: Diagnosis }[] {
  return workloads
    .flatMap((workload) => workload.stale)
    .flatMap((pod) => {
      const fault = diagnosePod(pod, now);
      return fault === undefined ? [] : [{ pod, fault }];
    });
}

/** The first fault of the workloads, or undefined while there is hope. `now` in milliseconds since the epoch. */
export function diagnose(workloads: Workload[], now: number): Diagnosis | undefined {
  for (const workload of workloads) {
    for (const pod of workload.pods) {
      const fault = diagnosePod(pod, now);
      if (fault !== undefined) return fault;
    }
    const { object } = workload;
    if (workload.kind === "Job" && hasFailed(object)) return failedJob(object, workload.pods);
    const refused = conditionOf(object, "ReplicaFailure");
    if (refused?.status === "True" && workload.pods.length < workload.wanted) {
      return {
        reason: refused.reason ?? "ReplicaFailure",
        message: `${workload.name}: ${refused.message ?? ""}`,
      };
    }
    const progress = conditionOf(object, "Progressing");
    if (progress?.status === "False" && progress.reason === "ProgressDeadlineExceeded") {
      return { reason: progress.reason, message: `${workload.name}: ${progress.message ?? ""}` };
    }
  }
  return undefined;
}

/** The same for the hook Jobs of a service, while Helm waits for them. */
export function diagnoseHooks(
  objects: NamespaceObjects,
  { service, release }: { service: string; release: string },
  now: number,
): Diagnosis | undefined {
  for (const job of hookJobs(objects, service, release)) {
    const pods = objects.pods.filter((pod) => isOwned(pod, job));
    if (hasFailed(job)) return failedJob(job, pods);
    for (const pod of pods) {
      const fault = diagnosePod(pod, now);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

/** How long a container that nothing probes has to run before it counts, in milliseconds: a crash at its start shows by then. */
const settleMs = 2000;

/** False while a container without a readiness probe has only just started: Kubernetes calls it ready at once. */
export function hasSettled(workload: Workload, now: number): boolean {
  if (workload.kind === "Job") return true;
  return workload.pods.every((pod) => {
    const specs = (pod["spec"]?.containers ?? []) as { name: string; readinessProbe?: Probe }[];
    const statuses = (pod["status"]?.containerStatuses ?? []) as ContainerStatus[];
    return statuses.every(({ name, state }) => {
      if (specs.find((spec) => spec.name === name)?.readinessProbe !== undefined) return true;
      return state?.running !== undefined && since(state.running.startedAt, now) >= settleMs;
    });
  });
}

function failedJob(job: KubeObject, pods: KubeObject[]): Diagnosis {
  const failed = conditionOf(job, "Failed");
  const pod = pods
    .filter((candidate) => candidate["status"]?.phase === "Failed")
    .toSorted((a, b) =>
      (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? ""),
    )[0];
  const container = statusesOf(pod).find((status) => (status.state?.terminated?.exitCode ?? 0) !== 0);
  const exit = container?.state?.terminated?.exitCode;
  return {
    reason: failed?.reason ?? "JobFailed",
    message: `the Job ${job.metadata.name} failed${exit === undefined ? "" : ` with exit code ${exit}`}`,
    ...(pod === undefined ? {} : { pod: pod.metadata.name }),
    ...(container === undefined ? {} : { container: container.name }),
  };
}

function statusesOf(pod: KubeObject | undefined): ContainerStatus[] {
  const status = pod?.["status"];
  return [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
  ] as ContainerStatus[];
}

/** The same for one pod. */
export function diagnosePod(pod: KubeObject, now: number): Diagnosis | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined;
  const at = { pod: pod.metadata.name };
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled?.status === "False" && since(scheduled.lastTransitionTime, now) > unschedulableMs) {
    return {
      ...at,
      reason: scheduled.reason ?? "Unschedulable",
      message: scheduled.message ?? "no node takes the pod",
    };
  }
  for (const status of statusesOf(pod)) {
    const fault = diagnoseContainer(pod, status, now);
    if (fault !== undefined) return { ...at, container: status.name, ...fault };
  }
  return undefined;
}

function diagnoseContainer(pod: KubeObject, status: ContainerStatus, now: number): Diagnosis | undefined {
  const { waiting, running } = status.state ?? {};
  const restarts = status.restartCount ?? 0;
  const reason = waiting?.reason ?? "";
  if (hopeless.has(reason)) {
    const image = reason.includes("Image") ? `${imageOf(pod, status)}: ` : "";
    return { reason, message: `${image}${waiting?.message ?? "the container cannot be started"}` };
  }
  if (reason === "CrashLoopBackOff" && restarts >= 1) {
    const ended = status.lastState?.terminated;
    const why =
      ended?.reason === "OOMKilled"
        ? "ran out of memory (OOMKilled)"
        : `ended with exit code ${ended?.exitCode}`;
    // Of several lines it is the end of the log, which is shown anyway.
    const said = ended?.message?.trim() ?? "";
    const reasonGiven = said === "" || said.includes("\n") ? "" : `: ${said}`;
    return { reason, message: `${status.name} ${why}, ${restarts + 1} times${reasonGiven}`, previous: true };
  }
  if (running !== undefined && status.ready === false) {
    const probe = readinessOf(pod, status.name);
    // One that was ready until a moment ago has all of its time again.
    const ready = conditionOf(pod, "Ready");
    const unreadyFor = Math.min(
      since(running.startedAt, now),
      ready?.status === "False" ? since(ready.lastTransitionTime, now) : Number.POSITIVE_INFINITY,
    );
    if (probe !== undefined && unreadyFor > probe.patienceMs) {
      return { reason: "Unhealthy", message: `the ${probe.kind} probe of ${status.name} does not pass` };
    }
  }
  return undefined;
}

function imageOf(pod: KubeObject, status: ContainerStatus): string {
  const containers = [...(pod["spec"]?.initContainers ?? []), ...(pod["spec"]?.containers ?? [])] as {
    name: string;
    image?: string;
  }[];
  return containers.find((container) => container.name === status.name)?.image ?? status.image ?? "the image";
}

/** The probe that holds a container back, and for how long that is nothing unusual. */
function readinessOf(pod: KubeObject, name: string): { kind: string; patienceMs: number } | undefined {
  const containers = (pod["spec"]?.containers ?? []) as {
    name: string;
    readinessProbe?: Probe;
    startupProbe?: Probe;
  }[];
  const container = containers.find((candidate) => candidate.name === name);
  const budget = (probe: Probe | undefined) =>
    probe === undefined
      ? 0
      : ((probe.initialDelaySeconds ?? 0) + (probe.periodSeconds ?? 10) * (probe.failureThreshold ?? 3)) *
        1000;
  const { readinessProbe, startupProbe } = container ?? {};
  if (readinessProbe === undefined) return undefined;
  return { kind: "readiness", patienceMs: unreadyMs + budget(startupProbe) + budget(readinessProbe) };
}

function since(time: string | undefined, now: number): number {
  return time === undefined ? 0 : now - Date.parse(time);
}
