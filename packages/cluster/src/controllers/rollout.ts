/**
 * The arithmetic of a Deployment's rollout: how many replicas each of its ReplicaSets should have next. Pure; follows
 * k8s.io/kubernetes pkg/controller/deployment (rolling.go, sync.go, util/deployment_util.go).
 */
import type { KubeObject } from "@kws/kube/object";
import type { LabelSelector } from "@kws/kube/selector";
import type { Condition } from "./conditions.ts";
import type { PodTemplate } from "./pods.ts";
import type { ReplicaSet } from "./replicaset.ts";

export interface Deployment extends KubeObject {
  spec: {
    replicas?: number;
    selector: LabelSelector;
    template: PodTemplate;
    strategy?: {
      type?: string;
      rollingUpdate?: { maxSurge?: number | string; maxUnavailable?: number | string };
    };
    minReadySeconds?: number;
    revisionHistoryLimit?: number;
    paused?: boolean;
    progressDeadlineSeconds?: number;
  };
  status?: DeploymentStatus;
}

export interface DeploymentStatus {
  observedGeneration?: number;
  replicas?: number;
  updatedReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  unavailableReplicas?: number;
  terminatingReplicas?: number;
  conditions?: Condition[];
  collisionCount?: number;
}

/** A size that a ReplicaSet should be scaled to. */
export interface Scaling {
  set: ReplicaSet;
  replicas: number;
}

export const annotation = {
  revision: "deployment.kubernetes.io/revision",
  revisionHistory: "deployment.kubernetes.io/revision-history",
  desiredReplicas: "deployment.kubernetes.io/desired-replicas",
  maxReplicas: "deployment.kubernetes.io/max-replicas",
} as const;

export function sizeOf(set: ReplicaSet): number {
  return set.spec.replicas ?? 1;
}

export function wantedOf(deployment: Deployment): number {
  return deployment.spec.replicas ?? 1;
}

/** `25%` of a total, or the number itself. Percentages round as asked. */
export function absolute(value: number | string | undefined, total: number, round: "up" | "down"): number {
  if (value === undefined) return 0;
  if (typeof value === "number") return value;
  const share = (Number.parseFloat(value) * total) / 100;
  return value.endsWith("%") ? (round === "up" ? Math.ceil(share) : Math.floor(share)) : Number(value);
}

/** Absolute surge and unavailability; never both zero, for then nothing could ever move. */
export function fenceposts(deployment: Deployment): { maxSurge: number; maxUnavailable: number } {
  const wanted = wantedOf(deployment);
  if (deployment.spec.strategy?.type === "Recreate") return { maxSurge: 0, maxUnavailable: 0 };
  const { maxSurge = "25%", maxUnavailable = "25%" } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = absolute(maxSurge, wanted, "up");
  const unavailable = absolute(maxUnavailable, wanted, "down");
  if (surge === 0 && unavailable === 0) return { maxSurge: 0, maxUnavailable: Math.min(1, wanted) };
  return { maxSurge: surge, maxUnavailable: Math.min(unavailable, wanted) };
}

/** The size of the newest set when it may take whatever the surge leaves. */
export function newSetSize(
  deployment: Deployment,
  sets: ReplicaSet[],
  newSet: ReplicaSet | undefined,
): number {
  const wanted = wantedOf(deployment);
  if (deployment.spec.strategy?.type === "Recreate") return wanted;
  const present = newSet === undefined ? 0 : sizeOf(newSet);
  if (present > wanted) return wanted;
  const total = sets.reduce((sum, set) => sum + sizeOf(set), 0);
  const room = wanted + fenceposts(deployment).maxSurge - total;
  return room <= 0 ? present : present + Math.min(room, wanted - present);
}

/** Which old sets to shrink: unhealthy pods first, then whatever keeps enough available. */
export function shrinkOldSets(deployment: Deployment, newSet: ReplicaSet, oldSets: ReplicaSet[]): Scaling[] {
  const wanted = wantedOf(deployment);
  const minAvailable = wanted - fenceposts(deployment).maxUnavailable;
  const sets = [...oldSets].sort(byAge);
  const total = [...sets, newSet].reduce((sum, set) => sum + sizeOf(set), 0);
  const newUnavailable = sizeOf(newSet) - availableOf(newSet);
  const most = total - minAvailable - newUnavailable;
  if (most <= 0) return [];

  const sizes = new Map(sets.map((set) => [set, sizeOf(set)]));
  let unhealthy = 0;
  for (const set of sets) {
    const size = sizeOf(set);
    const count = Math.min(most - unhealthy, size - availableOf(set));
    if (size === 0 || count <= 0) continue;
    sizes.set(set, size - count);
    unhealthy += count;
  }
  let spare = [...sets, newSet].reduce((sum, set) => sum + availableOf(set), 0) - minAvailable;
  for (const set of sets) {
    const size = sizes.get(set) ?? 0;
    const count = Math.min(size, spare);
    if (count <= 0) continue;
    sizes.set(set, size - count);
    spare -= count;
  }
  return changed(sizes);
}

/** Spreads a changed `replicas` over all live sets in proportion while a rollout is under way. */
export function proportionalScaling(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: ReplicaSet[],
): Scaling[] {
  const wanted = wantedOf(deployment);
  const all = newSet === undefined ? oldSets : [...oldSets, newSet];
  const live = all.filter((set) => sizeOf(set) > 0);
  const only = live.length > 1 ? undefined : (live[0] ?? newSet ?? [...oldSets].sort(byAge).at(-1));
  if (only !== undefined) return changed(new Map([[only, wanted]]));
  if (newSet !== undefined && isSaturated(deployment, newSet)) {
    return changed(new Map(oldSets.map((set) => [set, 0])));
  }
  if (deployment.spec.strategy?.type === "Recreate") return [];

  const total = live.reduce((sum, set) => sum + sizeOf(set), 0);
  const allowed = wanted > 0 ? wanted + fenceposts(deployment).maxSurge : 0;
  const toAdd = allowed - total;
  live.sort((a, b) => sizeOf(b) - sizeOf(a) || (toAdd > 0 ? byAge(b, a) : byAge(a, b)));
  const sizes = new Map<ReplicaSet, number>();
  let added = 0;
  for (const set of live) {
    const share = proportion(set, deployment, toAdd, added);
    sizes.set(set, sizeOf(set) + share);
    added += share;
  }
  const [largest] = live;
  if (largest !== undefined) sizes.set(largest, Math.max(0, (sizes.get(largest) ?? 0) + toAdd - added));
  return changed(sizes);
}

function proportion(set: ReplicaSet, deployment: Deployment, toAdd: number, added: number): number {
  if (toAdd === 0 || toAdd === added) return 0;
  const allowed = toAdd - added;
  const fraction = fractionOf(set, deployment);
  return toAdd > 0 ? Math.min(fraction, allowed) : Math.max(fraction, allowed);
}

function fractionOf(set: ReplicaSet, deployment: Deployment): number {
  const wanted = wantedOf(deployment);
  if (wanted === 0) return -sizeOf(set);
  const before = Number(
    set.metadata.annotations?.[annotation.maxReplicas] ?? deployment.status?.replicas ?? 0,
  );
  if (before === 0) return 0;
  const size = (sizeOf(set) * (wanted + fenceposts(deployment).maxSurge)) / before;
  return Math.round(size) - sizeOf(set);
}

/** The newest set carries the whole load. */
export function isSaturated(deployment: Deployment, newSet: ReplicaSet): boolean {
  const wanted = wantedOf(deployment);
  const desired = Number(newSet.metadata.annotations?.[annotation.desiredReplicas] ?? Number.NaN);
  return sizeOf(newSet) === wanted && desired === wanted && availableOf(newSet) === wanted;
}

/** `replicas` was changed since the sets were last sized. */
export function isScalingEvent(deployment: Deployment, sets: ReplicaSet[]): boolean {
  return sets.some((set) => {
    const desired = set.metadata.annotations?.[annotation.desiredReplicas];
    return sizeOf(set) > 0 && desired !== undefined && Number(desired) !== wantedOf(deployment);
  });
}

export function byAge(a: KubeObject, b: KubeObject): number {
  const times = [a, b].map((object) => Date.parse(object.metadata.creationTimestamp ?? "") || 0);
  return (times[0] ?? 0) - (times[1] ?? 0) || a.metadata.name.localeCompare(b.metadata.name);
}

export function revisionOf(object: KubeObject | undefined): number {
  return Number(object?.metadata.annotations?.[annotation.revision] ?? 0);
}

function availableOf(set: ReplicaSet): number {
  return set.status?.availableReplicas ?? 0;
}

function changed(sizes: Map<ReplicaSet, number>): Scaling[] {
  return [...sizes]
    .filter(([set, replicas]) => sizeOf(set) !== replicas)
    .map(([set, replicas]) => ({ set, replicas }));
}
