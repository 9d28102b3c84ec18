/**
 * How many replicas a metric of pods asks for
 * (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details). Amounts are cores or bytes.
 */
import { parseQuantity } from "@kws/kube/quantity";
import { conditionOf } from "./conditions.ts";
import type { Pod } from "./pods.ts";

export interface PodMetric {
  /** Milliseconds since the epoch, of the end of the window. */
  time: number;
  windowMs: number;
  /** By the container's name. */
  containers: ReadonlyMap<string, number>;
}

export interface ReplicaQuestion {
  resource: string;
  /** One container instead of all. */
  container?: string;
  target: { utilization: number } | { average: number };
  /** All that the scale's selector selects. */
  pods: Pod[];
  /** By the pod's name. */
  metrics: ReadonlyMap<string, PodMetric>;
  current: number;
  /** By how much, as a part of one, the ratio of usage and target may be off. */
  tolerance: Tolerance;
  now: number;
}

export interface Tolerance {
  up: number;
  down: number;
}

export interface ReplicaAnswer {
  replicas: number;
  /** Of all pods that were measured. */
  average: number;
  /** Percent of what the pods request. */
  utilization?: number;
}

/** For so long after its start, a pod's processor time counts only while it is ready. */
const initializationMs = 5 * 60_000;
/** One that becomes unready within this time of its start has not been ready yet. */
const initialReadinessMs = 30_000;

/** Throws where nothing can be said, in upstream's words. */
export function replicasFor(question: ReplicaQuestion): ReplicaAnswer {
  const { pods, current } = question;
  if (pods.length === 0) throw new Error("no pods returned by selector while calculating replica count");
  const { usage, ignored, missing } = groups(question);
  const weights = "utilization" in question.target ? requestsOf(question) : undefined;
  if (usage.size === 0) throw new Error("did not receive metrics for any ready pods");
  const first = ratioOf(usage, weights, question.target);
  const answer = (replicas: number): ReplicaAnswer => ({ ...first.answer, replicas });
  const { ratio } = first;
  const unready = ratio > 1 ? ignored : [];
  if (ratio === 1 || (unready.length === 0 && missing.length === 0)) {
    return answer(isWithin(ratio, question.tolerance) ? current : Math.ceil(ratio * usage.size));
  }
  // What is not known must not make more of the change: nothing used where there would be more pods, all where fewer.
  const full = (name: string) =>
    "average" in question.target ? question.target.average : (weights?.get(name) ?? 0);
  for (const name of missing) usage.set(name, ratio < 1 ? full(name) : 0);
  for (const name of unready) usage.set(name, 0);
  const { ratio: careful } = ratioOf(usage, weights, question.target);
  const turned = (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1);
  if (isWithin(careful, question.tolerance) || turned) return answer(current);
  const replicas = Math.ceil(careful * usage.size);
  if ((careful < 1 && replicas > current) || (careful > 1 && replicas < current)) return answer(current);
  return answer(replicas);
}

function isWithin(ratio: number, { up, down }: Tolerance): boolean {
  return ratio >= 1 - down && ratio <= 1 + up;
}

/** What measured pods use, and the names of those that are not measured or not counted. */
function groups({ pods, metrics, resource, container, now }: ReplicaQuestion): {
  usage: Map<string, number>;
  ignored: string[];
  missing: string[];
} {
  const usage = new Map<string, number>();
  const ignored: string[] = [];
  const missing: string[] = [];
  for (const pod of pods) {
    const { name, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined || pod.status?.phase === "Failed") continue;
    const metric = metrics.get(name);
    const amount = metric === undefined ? undefined : amountOf(metric, container);
    if (pod.status?.phase === "Pending") ignored.push(name);
    else if (metric === undefined || amount === undefined) missing.push(name);
    else if (resource === "cpu" && !isCounted(pod, metric, now)) ignored.push(name);
    else usage.set(name, amount);
  }
  return { usage, ignored, missing };
}

function amountOf({ containers }: PodMetric, container: string | undefined): number | undefined {
  if (container !== undefined) return containers.get(container);
  return [...containers.values()].reduce((sum, one) => sum + one, 0);
}

/** The processor time of a pod that is only starting says nothing of its load. */
function isCounted(pod: Pod, { time, windowMs }: PodMetric, now: number): boolean {
  const ready = conditionOf(pod.status?.conditions, "Ready");
  const started = Date.parse(pod.status?.startTime ?? "");
  if (ready === undefined || Number.isNaN(started)) return false;
  const changed = Date.parse(ready.lastTransitionTime ?? "");
  if (started + initializationMs > now) return ready.status !== "False" && time >= changed + windowMs;
  return !(ready.status === "False" && started + initialReadinessMs > changed);
}

/** What each pod requests. Throws where a container requests nothing. */
function requestsOf({ pods, resource, container }: ReplicaQuestion): Map<string, number> {
  type Container = {
    name: string;
    restartPolicy?: string;
    resources?: { requests?: Record<string, string> };
  };
  const requests = new Map<string, number>();
  for (const { metadata, spec } of pods) {
    const sidecars = ((spec["initContainers"] ?? []) as Container[]).filter(
      ({ restartPolicy }) => restartPolicy === "Always",
    );
    const containers = [...((spec["containers"] ?? []) as Container[]), ...sidecars];
    const counted = containers.filter(({ name }) => container === undefined || name === container);
    if (counted.length === 0) throw new Error(`container ${container} not found in pod ${metadata.name}`);
    let sum = 0;
    for (const { name, resources } of counted) {
      const request = resources?.requests?.[resource];
      if (request === undefined)
        throw new Error(`missing request for ${resource} in container ${name} of Pod ${metadata.name}`);
      sum += parseQuantity(request);
    }
    requests.set(metadata.name, sum);
  }
  return requests;
}

function ratioOf(
  usage: ReadonlyMap<string, number>,
  requests: ReadonlyMap<string, number> | undefined,
  target: ReplicaQuestion["target"],
): { ratio: number; answer: Omit<ReplicaAnswer, "replicas"> } {
  const total = [...usage.values()].reduce((sum, one) => sum + one, 0);
  const average = total / usage.size;
  if ("average" in target) return { ratio: average / target.average, answer: { average } };
  const requested = [...usage.keys()].reduce((sum, name) => sum + (requests?.get(name) ?? 0), 0);
  if (requested === 0) throw new Error("no metrics returned matched known pods");
  const utilization = Math.floor((total * 100) / requested);
  return { ratio: utilization / target.utilization, answer: { average, utilization } };
}
