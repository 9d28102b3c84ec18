/** What finished pods mean for a Job: which failures count, end it or are ignored, and when it has succeeded. Pure. */
import type { KubeObject } from "@kws/kube/object";
import type { LabelSelector } from "@kws/kube/selector";
import type { Condition } from "./conditions.ts";
import type { ContainerStatus, Pod, PodTemplate } from "./pods.ts";

export interface Job extends KubeObject {
  spec: {
    parallelism?: number;
    completions?: number;
    completionMode?: string;
    backoffLimit?: number;
    backoffLimitPerIndex?: number;
    maxFailedIndexes?: number;
    activeDeadlineSeconds?: number;
    ttlSecondsAfterFinished?: number;
    suspend?: boolean;
    selector?: LabelSelector;
    template: PodTemplate;
    podReplacementPolicy?: string;
    podFailurePolicy?: { rules: FailureRule[] };
    successPolicy?: { rules: { succeededIndexes?: string; succeededCount?: number }[] };
    managedBy?: string;
  };
  status?: JobStatus;
}

export interface JobStatus {
  active?: number;
  succeeded?: number;
  failed?: number;
  ready?: number;
  terminating?: number;
  startTime?: string;
  completionTime?: string;
  completedIndexes?: string;
  failedIndexes?: string;
  uncountedTerminatedPods?: object;
  conditions?: Condition[];
}

export interface FailureRule {
  action: "FailJob" | "FailIndex" | "Ignore" | "Count";
  onExitCodes?: { containerName?: string; operator: "In" | "NotIn"; values: number[] };
  onPodConditions?: { type: string; status?: string }[];
}

export const indexAnnotation = "batch.kubernetes.io/job-completion-index";

export function indexOf(pod: Pod): number {
  return Number(pod.metadata.annotations?.[indexAnnotation] ?? -1);
}

/** The first rule of the policy that speaks of this failed pod, with the words of the condition it may lead to. */
export function failureAction(job: Job, pod: Pod): { action: FailureRule["action"]; message: string } {
  const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [index, rule] of (job.spec.podFailurePolicy?.rules ?? []).entries()) {
    if (rule.onExitCodes !== undefined) {
      const hit = containersOf(pod).find(({ name, state }) => {
        const code = state?.terminated?.exitCode ?? 0;
        const wanted = rule.onExitCodes?.containerName;
        if (code === 0 || (wanted !== undefined && wanted !== null && wanted !== name)) return false;
        return rule.onExitCodes?.values.includes(code) === (rule.onExitCodes?.operator === "In");
      });
      if (hit === undefined) continue;
      const code = hit.state?.terminated?.exitCode;
      const message = `Container ${hit.name} for pod ${key} failed with exit code ${code} matching ${rule.action} rule at index ${index}`;
      return { action: rule.action, message };
    }
    const condition = (rule.onPodConditions ?? []).find(({ type, status = "True" }) =>
      (pod.status?.conditions ?? []).some((present) => present.type === type && present.status === status),
    );
    if (condition === undefined) continue;
    const message = `Pod ${key} has condition ${condition.type} matching ${rule.action} rule at index ${index}`;
    return { action: rule.action, message };
  }
  return { action: "Count", message: "" };
}

function containersOf(pod: Pod): ContainerStatus[] {
  return [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
}

/** `0-2,5` for a set of indexes. */
export function formatIndexes(indexes: Iterable<number>): string {
  const sorted = [...new Set(indexes)].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const index of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else runs.push([index, index]);
  }
  return runs
    .map(([first, last]) => {
      if (first === last) return String(first);
      return last === first + 1 ? `${first},${last}` : `${first}-${last}`;
    })
    .join(",");
}

export function parseIndexes(text: string | undefined): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? "").split(",").filter((piece) => piece !== "")) {
    const [first = 0, last = first] = part.split("-").map(Number);
    for (let index = first; index <= last; index += 1) indexes.add(index);
  }
  return indexes;
}

/** Whether the indexes done so far satisfy a rule of the success policy. */
export function meetsSuccessPolicy(job: Job, done: Set<number>): string | undefined {
  for (const [index, rule] of (job.spec.successPolicy?.rules ?? []).entries()) {
    const named = rule.succeededIndexes === undefined ? undefined : parseIndexes(rule.succeededIndexes);
    const relevant = [...done].filter((one) => named?.has(one) ?? true);
    const wanted = rule.succeededCount ?? named?.size ?? Number.POSITIVE_INFINITY;
    if (relevant.length >= wanted) return `Matched rules at index ${index}`;
  }
  return undefined;
}

/** 10 s, 20 s, … up to 10 min after the newest failure, as upstream paces replacements; in milliseconds from now. */
export function backoffLeft(failures: Pod[], now: number): number {
  if (failures.length === 0) return 0;
  const delay = Math.min(10_000 * 2 ** (failures.length - 1), 600_000);
  const last = Math.max(...failures.map(finishedAt));
  return last + delay - now;
}

/** When the pod's last container ended, in milliseconds since the epoch. */
export function finishedAt(pod: Pod): number {
  const times = containersOf(pod).map(({ state }) => Date.parse(state?.terminated?.finishedAt ?? "") || 0);
  return (
    Math.max(0, ...times) ||
    Date.parse(pod.metadata.deletionTimestamp ?? pod.metadata.creationTimestamp ?? "") ||
    0
  );
}
