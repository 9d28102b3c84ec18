/**
 * Pods with stable names and volumes, one ordinal after another
 * (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/).
 */
import { messageOf } from "@kws/base/errors";
import { controllerOf, keyOf, type KubeObject } from "@kws/kube/object";
import {
  controllerRevisions,
  persistentVolumeClaims,
  pods as podResource,
  statefulSets,
} from "@kws/kube/resources";
import { selects, toRequirements, type LabelSelector } from "@kws/kube/selector";
import { claim } from "./adoption.ts";
import type { Condition } from "./conditions.ts";
import { byController, watch, type Controller, type ControllerContext } from "./context.ts";
import {
  isAvailable,
  isFinished,
  isReady,
  nextAvailable,
  podFromTemplate,
  type Pod,
  type PodTemplate,
} from "./pods.ts";
import { candidatesOf, positive } from "./replicaset.ts";
import { absolute } from "./rollout.ts";
import {
  revisionLabel,
  syncRevisions,
  templateOf,
  trimRevisions,
  type ControllerRevision,
} from "./revisions.ts";

export interface StatefulSet extends KubeObject {
  spec: {
    replicas?: number;
    serviceName?: string;
    selector: LabelSelector;
    template: PodTemplate;
    volumeClaimTemplates?: KubeObject[];
    podManagementPolicy?: string;
    updateStrategy?: {
      type?: string;
      rollingUpdate?: { partition?: number; maxUnavailable?: number | string };
    };
    minReadySeconds?: number;
    revisionHistoryLimit?: number;
    ordinals?: { start?: number };
    persistentVolumeClaimRetentionPolicy?: { whenDeleted?: string; whenScaled?: string };
  };
  status?: StatefulSetStatus;
}

export interface StatefulSetStatus {
  observedGeneration?: number;
  replicas: number;
  readyReplicas?: number;
  currentReplicas?: number;
  updatedReplicas?: number;
  availableReplicas: number;
  currentRevision?: string;
  updateRevision?: string;
  collisionCount?: number;
  conditions?: Condition[];
}

export function statefulSetController(ctx: ControllerContext): Controller {
  const sets = ctx.resource<StatefulSet>(statefulSets);
  const pods = ctx.resource<Pod>(podResource);
  const claims = ctx.resource(persistentVolumeClaims);
  const revisions = ctx.resource<ControllerRevision>(controllerRevisions);
  const recorder = ctx.recorder("statefulset-controller");

  const setsOf = (pod: Pod): string[] => {
    if (controllerOf(pod) !== undefined) return byController("StatefulSet")(pod);
    return sets
      .list(pod.metadata.namespace)
      .filter((set) => selects(set.spec.selector, pod.metadata.labels))
      .map(keyOf);
  };

  return {
    name: "statefulset-controller",
    watches: [watch(sets), watch(pods, setsOf), watch(revisions, byController("StatefulSet"))],
    concurrency: 4,
    async reconcile({ namespace, name }) {
      const set = sets.get(name, namespace);
      if (set === undefined) return;
      const { update, all } = await syncRevisions(revisions, set, set.spec.selector.matchLabels ?? {});
      const current =
        all.find((revision) => revision.metadata.name === set.status?.currentRevision) ?? update;
      const claimed = await claim({
        client: ctx.client,
        owner: set,
        ownerResource: statefulSets,
        cached: pods,
        candidates: candidatesOf(pods, set, toRequirements(set.spec.selector)).filter(
          (pod) => ordinalOf(set, pod) >= 0,
        ),
        selected: (pod) => selects(set.spec.selector, pod.metadata.labels) && ordinalOf(set, pod) >= 0,
      });
      let failure: unknown;
      if (set.metadata.deletionTimestamp === undefined) {
        try {
          await step(set, claimed, current, update);
        } catch (error) {
          failure = error;
        }
        await keepClaims(set);
      }
      const owned = pods.ownedBy(set.metadata.uid).filter((pod) => ordinalOf(set, pod) >= 0);
      const status = statefulSetStatus(set, owned, current, update, ctx.now());
      await sets.updateStatus(set, status);
      const used = new Set(owned.map((pod) => pod.metadata.labels?.[revisionLabel] ?? ""));
      for (const revision of [current, update]) used.add(revision.metadata.name);
      await trimRevisions(revisions, all, used, set.spec.revisionHistoryLimit ?? 10);
      if (failure !== undefined) throw failure;
      return { requeueAfter: nextAvailable(owned, set.spec.minReadySeconds ?? 0, ctx.now()) };
    },
  };

  /** One round; with OrderedReady it ends at the first pod that is not settled. */
  async function step(
    set: StatefulSet,
    claimed: Pod[],
    current: ControllerRevision,
    update: ControllerRevision,
  ): Promise<void> {
    const ordered = set.spec.podManagementPolicy !== "Parallel";
    const { start, end } = range(set);
    const byOrdinal = new Map(claimed.map((pod) => [ordinalOf(set, pod), pod]));
    const settled = (pod: Pod): boolean =>
      pod.metadata.deletionTimestamp === undefined &&
      isAvailable(pod, set.spec.minReadySeconds ?? 0, ctx.now());

    for (let ordinal = start; ordinal < end; ordinal += 1) {
      const pod = byOrdinal.get(ordinal);
      if (pod === undefined) {
        await createPod(set, ordinal, revisionFor(set, ordinal, current, update));
        if (ordered) return;
      } else if (isFinished(pod) && pod.metadata.deletionTimestamp === undefined) {
        recorder.event(
          set,
          "Warning",
          "RecreatingFailedPod",
          `StatefulSet ${keyOf(set)} is recreating failed Pod ${pod.metadata.name}`,
        );
        await pods.delete(pod);
        if (ordered) return;
      } else {
        if (pod.metadata.deletionTimestamp === undefined) await ensureClaims(set, ordinal);
        if (ordered && !settled(pod)) return;
      }
    }

    const condemned = claimed
      .filter((pod) => ordinalOf(set, pod) < start || ordinalOf(set, pod) >= end)
      .sort((a, b) => ordinalOf(set, b) - ordinalOf(set, a));
    for (const pod of condemned) {
      if (ordered && pod.metadata.deletionTimestamp !== undefined) return;
      const others = claimed.filter((other) => other !== pod && !condemned.includes(other));
      if (ordered && !isReady(pod) && others.some((other) => !settled(other))) return;
      if (pod.metadata.deletionTimestamp === undefined) await deletePod(set, pod);
      if (ordered) return;
    }

    await rollPods(set, byOrdinal, update, settled);
  }

  /** From the highest ordinal down to the partition, so many unavailable at a time. */
  async function rollPods(
    set: StatefulSet,
    byOrdinal: Map<number, Pod>,
    update: ControllerRevision,
    settled: (pod: Pod) => boolean,
  ): Promise<void> {
    if (set.spec.updateStrategy?.type === "OnDelete") return;
    const { start, end } = range(set);
    const { partition = 0, maxUnavailable = 1 } = set.spec.updateStrategy?.rollingUpdate ?? {};
    const budget = Math.max(1, absolute(maxUnavailable, end - start, "up"));
    let unavailable = [...byOrdinal.values()].filter(
      (pod) => ordinalOf(set, pod) < end && !settled(pod),
    ).length;
    for (let ordinal = end - 1; ordinal >= start + partition; ordinal -= 1) {
      const pod = byOrdinal.get(ordinal);
      if (pod === undefined) return;
      const outdated = pod.metadata.labels?.[revisionLabel] !== update.metadata.name;
      if (outdated && pod.metadata.deletionTimestamp === undefined) {
        if (settled(pod) && unavailable >= budget) return;
        if (settled(pod)) unavailable += 1;
        await deletePod(set, pod);
      }
      if (unavailable >= budget) return;
    }
  }

  async function createPod(set: StatefulSet, ordinal: number, revision: ControllerRevision): Promise<void> {
    await ensureClaims(set, ordinal);
    const name = `${set.metadata.name}-${ordinal}`;
    try {
      await pods.create(desiredPod(set, ordinal, revision));
      recorder.event(
        set,
        "Normal",
        "SuccessfulCreate",
        `create Pod ${name} in StatefulSet ${set.metadata.name} successful`,
      );
    } catch (error) {
      const message = `create Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${messageOf(error)}`;
      recorder.event(set, "Warning", "FailedCreate", message);
      throw error;
    }
  }

  async function deletePod(set: StatefulSet, pod: Pod): Promise<void> {
    await pods.delete(pod);
    const message = `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful`;
    recorder.event(set, "Normal", "SuccessfulDelete", message);
  }

  async function ensureClaims(set: StatefulSet, ordinal: number): Promise<void> {
    for (const wanted of desiredClaims(set, ordinal)) {
      const present = claims.get(wanted.metadata.name, wanted.metadata.namespace);
      if (present === undefined) {
        await claims.create(wanted);
        const message = `create Claim ${wanted.metadata.name} Pod ${set.metadata.name}-${ordinal} in StatefulSet ${set.metadata.name} success`;
        recorder.event(set, "Normal", "SuccessfulCreate", message);
      }
    }
  }

  /** Owner references on claims make garbage collection delete them as the retention policy says. */
  async function keepClaims(set: StatefulSet): Promise<void> {
    const templates = set.spec.volumeClaimTemplates ?? [];
    if (templates.length === 0) return;
    const { whenDeleted = "Retain", whenScaled = "Retain" } =
      set.spec.persistentVolumeClaimRetentionPolicy ?? {};
    const { start, end } = range(set);
    for (const present of claims.list(set.metadata.namespace)) {
      const ordinal = ordinalOfClaim(set, present);
      if (ordinal < 0) continue;
      const condemned = ordinal < start || ordinal >= end;
      const owners = present.metadata.ownerReferences ?? [];
      const foreign = owners.filter(({ uid, kind }) => uid !== set.metadata.uid && kind !== "Pod");
      const wanted = [...foreign];
      if (whenDeleted === "Delete") {
        wanted.push({
          apiVersion: "apps/v1",
          kind: "StatefulSet",
          name: set.metadata.name,
          uid: set.metadata.uid ?? "",
        });
      }
      const pod = pods.get(`${set.metadata.name}-${ordinal}`, set.metadata.namespace);
      const podOwner = owners.find(({ kind }) => kind === "Pod");
      if (condemned && whenScaled === "Delete") {
        if (pod !== undefined) {
          wanted.splice(foreign.length);
          wanted.push({
            apiVersion: "v1",
            kind: "Pod",
            name: pod.metadata.name,
            uid: pod.metadata.uid ?? "",
          });
        } else if (podOwner !== undefined) wanted.push(podOwner);
      }
      const same = owners.map(({ uid }) => uid).join() === wanted.map(({ uid }) => uid).join();
      if (!same)
        await claims.patch(present, "merge", {
          metadata: { ownerReferences: wanted.length === 0 ? null : wanted },
        });
    }
  }
}

function range(set: StatefulSet): { start: number; end: number } {
  const start = set.spec.ordinals?.start ?? 0;
  return { start, end: start + (set.spec.replicas ?? 1) };
}

/** -1 for a pod whose name is not of the set. */
export function ordinalOf(set: StatefulSet, pod: KubeObject): number {
  const prefix = `${set.metadata.name}-`;
  const rest = pod.metadata.name.startsWith(prefix) ? pod.metadata.name.slice(prefix.length) : "";
  return /^(0|[1-9]\d*)$/.test(rest) ? Number(rest) : -1;
}

function ordinalOfClaim(set: StatefulSet, present: KubeObject): number {
  for (const template of set.spec.volumeClaimTemplates ?? []) {
    const prefix = `${template.metadata.name}-${set.metadata.name}-`;
    const rest = present.metadata.name.startsWith(prefix) ? present.metadata.name.slice(prefix.length) : "";
    if (/^(0|[1-9]\d*)$/.test(rest)) return Number(rest);
  }
  return -1;
}

/** Below the partition, and while a rollout has not reached it, a pod comes back with the revision it had. */
function revisionFor(
  set: StatefulSet,
  ordinal: number,
  current: ControllerRevision,
  update: ControllerRevision,
): ControllerRevision {
  if (set.spec.updateStrategy?.type === "OnDelete") return update;
  const { start } = range(set);
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition;
  return ordinal < start + (partition ?? set.status?.currentReplicas ?? 0) ? current : update;
}

/** The pod of an ordinal: its name, its host name under the governing Service, and its volumes. */
export function desiredPod(set: StatefulSet, ordinal: number, revision: ControllerRevision): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(set, templateOf(revision), name);
  pod.metadata.labels = {
    ...pod.metadata.labels,
    [revisionLabel]: revision.metadata.name,
    "statefulset.kubernetes.io/pod-name": name,
    "apps.kubernetes.io/pod-index": String(ordinal),
  };
  pod.spec.hostname = name;
  if (set.spec.serviceName) pod.spec.subdomain = set.spec.serviceName;
  const own = (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    name: template.metadata.name,
    persistentVolumeClaim: { claimName: `${template.metadata.name}-${name}` },
  }));
  const others = ((pod.spec["volumes"] ?? []) as { name: string }[]).filter(
    (volume) => !own.some((mine) => mine.name === volume.name),
  );
  if (own.length + others.length > 0) pod.spec["volumes"] = [...own, ...others];
  return pod;
}

export function desiredClaims(set: StatefulSet, ordinal: number): KubeObject[] {
  return (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      ...(template.metadata.annotations === undefined ? {} : { annotations: template.metadata.annotations }),
      name: `${template.metadata.name}-${set.metadata.name}-${ordinal}`,
      namespace: set.metadata.namespace,
      labels: { ...template.metadata.labels, ...set.spec.selector.matchLabels },
    },
    spec: structuredClone(template["spec"] as object),
  }));
}

export function statefulSetStatus(
  set: StatefulSet,
  owned: Pod[],
  current: ControllerRevision,
  update: ControllerRevision,
  now: number,
): StatefulSetStatus {
  const staying = owned.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const ready = owned.filter((pod) => pod.status?.phase === "Running" && isReady(pod));
  const available = ready.filter((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0, now));
  const of = (revision: ControllerRevision): number =>
    staying.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision.metadata.name).length;
  const wanted = set.spec.replicas ?? 1;
  const complete =
    set.spec.updateStrategy?.type !== "OnDelete" &&
    of(update) === owned.length &&
    owned.length === wanted &&
    ready.length === wanted;
  return {
    ...positive("observedGeneration", set.metadata.generation ?? 0),
    replicas: owned.length,
    ...positive("readyReplicas", ready.length),
    availableReplicas: available.length,
    ...positive("currentReplicas", complete ? of(update) : of(current)),
    ...positive("updatedReplicas", of(update)),
    currentRevision: complete ? update.metadata.name : current.metadata.name,
    updateRevision: update.metadata.name,
    collisionCount: set.status?.collisionCount ?? 0,
    ...(set.status?.conditions === undefined ? {} : { conditions: set.status.conditions }),
  };
}
