/** Pods as workload controllers see them: states, making one from a template, and which to delete first. */
import type { KubeObject, OwnerReference } from "@kws/kube/object";
import { conditionOf, type Condition } from "./conditions.ts";

export interface Pod extends KubeObject {
  spec: {
    nodeName?: string;
    hostname?: string;
    subdomain?: string;
    // oxlint-disable-next-line typescript/no-explicit-any
    [field: string]: any;
  };
  status?: {
    phase?: string;
    reason?: string;
    conditions?: Condition[];
    podIP?: string;
    podIPs?: { ip: string }[];
    startTime?: string;
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
    // oxlint-disable-next-line typescript/no-explicit-any
    [field: string]: any;
  };
}

export interface ContainerStatus {
  name: string;
  ready?: boolean;
  restartCount?: number;
  state?: { terminated?: { exitCode: number; finishedAt?: string; reason?: string } };
  lastState?: { terminated?: { exitCode: number } };
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string>; finalizers?: string[] };
  spec: Pod["spec"];
}

/** Neither finished nor on its way out. */
export function isActive(pod: Pod): boolean {
  return !isFinished(pod) && pod.metadata.deletionTimestamp === undefined;
}

export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isTerminating(pod: Pod): boolean {
  return !isFinished(pod) && pod.metadata.deletionTimestamp !== undefined;
}

export function isReady(pod: Pod): boolean {
  return conditionOf(pod.status?.conditions, "Ready")?.status === "True";
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: Pod, minReadySeconds: number, now: number): boolean {
  return isReady(pod) && availableIn(pod, minReadySeconds, now) <= 0;
}

/** Milliseconds until a ready pod counts as available; 0 or less when it does. */
export function availableIn(pod: Pod, minReadySeconds: number, now: number): number {
  if (minReadySeconds === 0) return 0;
  const since = Date.parse(conditionOf(pod.status?.conditions, "Ready")?.lastTransitionTime ?? "");
  return Number.isNaN(since) ? minReadySeconds * 1_000 : since + minReadySeconds * 1_000 - now;
}

/** The soonest moment at which a pod that is ready now becomes available, in milliseconds from now. */
export function nextAvailable(pods: Pod[], minReadySeconds: number, now: number): number | undefined {
  const waits = pods
    .filter(isReady)
    .map((pod) => availableIn(pod, minReadySeconds, now))
    .filter((wait) => wait > 0);
  return waits.length === 0 ? undefined : Math.min(...waits);
}

export function controllerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** `owner-`, for generateName; without the dash where the name would no longer be a valid prefix. */
export function generatedNamePrefix(owner: KubeObject): string {
  return `${owner.metadata.name}-`;
}

/** A pod of the template, owned by `owner`. Named by the server unless a name is given. */
export function podFromTemplate(owner: KubeObject, template: PodTemplate, name?: string): Pod {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const naming = name === undefined ? { generateName: generatedNamePrefix(owner) } : { name };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...naming,
      namespace: owner.metadata.namespace,
      ...(labels === undefined ? {} : { labels: { ...labels } }),
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
      ...(finalizers === undefined ? {} : { finalizers: [...finalizers] }),
      ownerReferences: [controllerReference(owner)],
    } as Pod["metadata"],
    spec: structuredClone(template.spec),
  };
}

const phaseRank: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

/**
 * Sorts the pods to delete first to the front: unassigned, then pending, then not ready, then of lower deletion cost, then
 * on nodes with more of these pods, then ready for a shorter time, then with more restarts, then younger
 * (ActivePodsWithRanks of k8s.io/kubernetes pkg/controller/controller_utils.go).
 */
export function sortForDeletion(pods: Pod[], related: Pod[] = pods): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec.nodeName ?? "";
    if (isActive(pod)) perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const rank = (pod: Pod): number[] => [
    pod.spec.nodeName ? 1 : 0,
    phaseRank[pod.status?.phase ?? "Pending"] ?? 0,
    isReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0),
    -(perNode.get(pod.spec.nodeName ?? "") ?? 0),
    -logOfAge(conditionOf(pod.status?.conditions, "Ready")?.lastTransitionTime),
    -Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount ?? 0)),
    -logOfAge(pod.metadata.creationTimestamp),
  ];
  return pods
    .map((pod) => ({ pod, rank: rank(pod) }))
    .sort((a, b) => compareRanks(a.rank, b.rank) || a.pod.metadata.name.localeCompare(b.pod.metadata.name))
    .map(({ pod }) => pod);
}

/** Younger is larger, so that its negation sorts first. */
function logOfAge(time: string | undefined): number {
  const ms = Date.parse(time ?? "");
  return Number.isNaN(ms) ? Number.MAX_SAFE_INTEGER : ms;
}

function compareRanks(a: number[], b: number[]): number {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other ? -1 : 1;
  }
  return 0;
}
