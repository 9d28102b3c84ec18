/** Keeps as many pods as a ReplicaSet or a ReplicationController asks for, and counts them in its status. */
import { messageOf } from "@kws/base/errors";
import type { CachedResource } from "@kws/kube/cached";
import { controllerOf, keyOf, type KubeObject } from "@kws/kube/object";
import { pods as podResource, replicaSets, replicationControllers } from "@kws/kube/resources";
import { matches, toRequirements, type LabelSelector, type Requirement } from "@kws/kube/selector";
import { ApiError } from "@kws/kube/status";
import { claim } from "./adoption.ts";
import { withCondition, withoutCondition, type Condition } from "./conditions.ts";
import { watch, type Controller, type ControllerContext } from "./context.ts";
import {
  isActive,
  isAvailable,
  isReady,
  isTerminating,
  nextAvailable,
  podFromTemplate,
  sortForDeletion,
  type Pod,
  type PodTemplate,
} from "./pods.ts";

export interface ReplicaSet extends KubeObject {
  spec: {
    replicas?: number;
    minReadySeconds?: number;
    selector?: LabelSelector | Record<string, string>;
    template?: PodTemplate;
  };
  status?: ReplicaSetStatus;
}

export interface ReplicaSetStatus {
  replicas: number;
  fullyLabeledReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  terminatingReplicas?: number;
  observedGeneration?: number;
  conditions?: Condition[];
}

/** Pods created or deleted in one go; the rest follows in the next round. */
const burst = 500;

export function replicaSetController(ctx: ControllerContext): Controller {
  return controllerFor(ctx, ctx.resource<ReplicaSet>(replicaSets), "ReplicaSet", "replicaset-controller");
}

export function replicationControllerController(ctx: ControllerContext): Controller {
  const cached = ctx.resource<ReplicaSet>(replicationControllers);
  return controllerFor(ctx, cached, "ReplicationController", "replication-controller");
}

function controllerFor(
  ctx: ControllerContext,
  sets: CachedResource<ReplicaSet>,
  kind: string,
  name: string,
): Controller {
  const pods = ctx.resource<Pod>(podResource);
  const recorder = ctx.recorder(name);

  const setsOf = (pod: Pod): string[] => {
    const owner = controllerOf(pod);
    const namespace = pod.metadata.namespace;
    if (owner !== undefined) return owner.kind === kind ? [`${namespace}/${owner.name}`] : [];
    // An orphan wakes every set that could adopt it.
    return sets
      .list(namespace)
      .filter((set) => matches(selectorOf(set), pod.metadata.labels))
      .map(keyOf);
  };

  return {
    name,
    watches: [watch(sets), watch(pods, setsOf)],
    concurrency: 5,
    async reconcile({ namespace, name }) {
      const set = sets.get(name, namespace);
      if (set === undefined) return;
      const selector = selectorOf(set);
      const claimed = await claim({
        client: ctx.client,
        owner: set,
        ownerResource: sets.resource,
        cached: pods,
        candidates: candidatesOf(pods, set, selector),
        selected: (pod) => matches(selector, pod.metadata.labels),
      });
      const active = claimed.filter(isActive);
      let failure: unknown;
      if (set.metadata.deletionTimestamp === undefined) {
        failure = await scale(active, set).then(
          () => undefined,
          (error: unknown) => error,
        );
      }
      // Read again: what was just created or deleted counts at once.
      const owned = pods.ownedBy(set.metadata.uid).filter((pod) => matches(selector, pod.metadata.labels));
      const latest = sets.get(name, namespace) ?? set;
      await sets.updateStatus(latest, replicaSetStatus(latest, owned, failure, ctx.now()));
      if (failure !== undefined) throw failure;
      return {
        requeueAfter: nextAvailable(owned.filter(isActive), set.spec.minReadySeconds ?? 0, ctx.now()),
      };
    },
  };

  async function scale(active: Pod[], set: ReplicaSet): Promise<void> {
    const wanted = set.spec.replicas ?? 1;
    const missing = wanted - active.length;
    if (missing > 0) await createPods(set, Math.min(missing, burst));
    if (missing < 0) {
      const victims = sortForDeletion(active, relatedPods(set)).slice(0, Math.min(-missing, burst));
      await Promise.all(
        victims.map(async (pod) => {
          await pods.delete(pod);
          recorder.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
        }),
      );
    }
  }

  /** In batches that double, so that a quota or a bad template costs one refusal and not hundreds. */
  async function createPods(set: ReplicaSet, count: number): Promise<void> {
    const template = set.spec.template;
    if (template === undefined) return;
    let left = count;
    for (let batch = 1; left > 0; batch *= 2) {
      const size = Math.min(batch, left);
      left -= size;
      const results = await Promise.allSettled(
        Array.from({ length: size }, () => pods.create(podFromTemplate(set, template))),
      );
      for (const result of results) {
        if (result.status === "rejected") continue;
        recorder.event(set, "Normal", "SuccessfulCreate", `Created pod: ${result.value.metadata.name}`);
      }
      const refused = results.find((result) => result.status === "rejected");
      if (refused === undefined) continue;
      if (isNamespaceGoing(refused.reason)) return;
      recorder.event(set, "Warning", "FailedCreate", `Error creating: ${messageOf(refused.reason)}`);
      throw refused.reason;
    }
  }

  /** Pods of all sets under the same Deployment: where they crowd a node, delete there first. */
  function relatedPods(set: ReplicaSet): Pod[] {
    const owner = controllerOf(set);
    const siblings = owner === undefined ? [set] : sets.ownedBy(owner.uid);
    return siblings.flatMap((sibling) => pods.ownedBy(sibling.metadata.uid));
  }
}

/** Owned pods, and orphans of the namespace that the selector matches. */
export function candidatesOf(pods: CachedResource<Pod>, owner: KubeObject, selector: Requirement[]): Pod[] {
  const owned = pods.ownedBy(owner.metadata.uid);
  const orphans = pods
    .list(owner.metadata.namespace)
    .filter(
      (pod) => controllerOf(pod) === undefined && isActive(pod) && matches(selector, pod.metadata.labels),
    );
  return [...owned, ...orphans.filter((pod) => !owned.includes(pod))];
}

/** A ReplicationController's selector is the bare label map. */
export function selectorOf(set: ReplicaSet): Requirement[] {
  const { selector } = set.spec;
  const isBare = set.kind === "ReplicationController";
  return toRequirements((isBare ? { matchLabels: selector } : selector) as LabelSelector);
}

export function replicaSetStatus(
  set: ReplicaSet,
  owned: Pod[],
  failure: unknown,
  now: number,
): ReplicaSetStatus {
  const active = owned.filter(isActive);
  const ready = active.filter(isReady);
  const minReady = set.spec.minReadySeconds ?? 0;
  const labels = Object.entries(set.spec.template?.metadata?.labels ?? {});
  const labelled = active.filter((pod) =>
    labels.every(([key, value]) => pod.metadata.labels?.[key] === value),
  );
  const previous = set.status?.conditions;
  const missing = (set.spec.replicas ?? 1) - active.length;
  const conditions =
    failure === undefined
      ? withoutCondition(previous, "ReplicaFailure")
      : withCondition(
          previous,
          {
            type: "ReplicaFailure",
            status: "True",
            reason: missing > 0 ? "FailedCreate" : "FailedDelete",
            message: messageOf(failure),
          },
          now,
        );
  return {
    replicas: active.length,
    ...positive("fullyLabeledReplicas", labelled.length),
    ...positive("readyReplicas", ready.length),
    ...positive("availableReplicas", ready.filter((pod) => isAvailable(pod, minReady, now)).length),
    ...(set.kind === "ReplicaSet" ? { terminatingReplicas: owned.filter(isTerminating).length } : {}),
    ...positive("observedGeneration", set.metadata.generation ?? 0),
    ...(conditions.length === 0 ? {} : { conditions }),
  };
}

/** The API leaves out counts of zero that are optional. */
export function positive<K extends string>(field: K, count: number): Partial<Record<K, number>> {
  return (count === 0 ? {} : { [field]: count }) as Partial<Record<K, number>>;
}

export function isNamespaceGoing(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.status.details?.causes ?? []).some((cause) => cause.reason === "NamespaceTerminating")
  );
}
