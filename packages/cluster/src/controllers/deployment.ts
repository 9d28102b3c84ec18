/**
 * Rolls a Deployment's template out through ReplicaSets: one per revision, scaled against each other by the strategy.
 * Decisions are in `rollout.ts`, the status in `deployment-status.ts`; here they are carried out.
 */
import { messageOf } from "@kws/base/errors";
import { isSame } from "@kws/kube/cached";
import { controllerOf, keyOf } from "@kws/kube/object";
import { deployments as deploymentResource, pods as podResource, replicaSets } from "@kws/kube/resources";
import { selects, toRequirements } from "@kws/kube/selector";
import { ApiError } from "@kws/kube/status";
import { claim } from "./adoption.ts";
import { conditionOf, type Condition } from "./conditions.ts";
import { byController, watch, type Controller, type ControllerContext } from "./context.ts";
import {
  deadlineIn,
  deploymentCounts,
  deploymentStatus,
  hasDeadline,
  isComplete,
  setCondition,
} from "./deployment-status.ts";
import { hashOf } from "./hash.ts";
import { controllerReference, isFinished, type Pod, type PodTemplate } from "./pods.ts";
import { isNamespaceGoing, type ReplicaSet } from "./replicaset.ts";
import {
  annotation,
  byAge,
  fenceposts,
  isScalingEvent,
  newSetSize,
  proportionalScaling,
  revisionOf,
  shrinkOldSets,
  sizeOf,
  wantedOf,
  type Deployment,
  type Scaling,
} from "./rollout.ts";

export const hashLabel = "pod-template-hash";

/** What one round knows. */
interface Round {
  deployment: Deployment;
  newSet: ReplicaSet | undefined;
  oldSets: ReplicaSet[];
  conditions: Condition[];
}

export function deploymentController(ctx: ControllerContext): Controller {
  const deployments = ctx.resource<Deployment>(deploymentResource);
  const sets = ctx.resource<ReplicaSet>(replicaSets);
  const pods = ctx.resource<Pod>(podResource);
  const recorder = ctx.recorder("deployment-controller");

  const deploymentsOf = (set: ReplicaSet): string[] => {
    if (controllerOf(set) !== undefined) return byController("Deployment")(set);
    return deployments
      .list(set.metadata.namespace)
      .filter((deployment) => selects(deployment.spec.selector, set.metadata.labels))
      .map(keyOf);
  };
  /** Recreate waits for the last old pod; the rolling strategy learns all from ReplicaSets. */
  const recreatedOf = (pod: Pod): string[] => {
    const owner = controllerOf(pod);
    const set = owner?.kind === "ReplicaSet" ? sets.get(owner.name, pod.metadata.namespace) : undefined;
    return (set === undefined ? [] : deploymentsOf(set)).filter((key) => {
      const [namespace, name = ""] = key.split("/");
      return deployments.get(name, namespace)?.spec.strategy?.type === "Recreate";
    });
  };

  return {
    name: "deployment-controller",
    watches: [
      watch(deployments),
      watch(sets, deploymentsOf),
      watch(pods, recreatedOf, (pod, old) => pod.status?.phase !== old.status?.phase),
    ],
    concurrency: 5,
    async reconcile({ namespace, name }) {
      const deployment = deployments.get(name, namespace);
      if (deployment === undefined) return;
      // An empty selector would take every pod of the namespace.
      if (toRequirements(deployment.spec.selector).length === 0) return;
      const owned = await claim({
        client: ctx.client,
        owner: deployment,
        ownerResource: deploymentResource,
        cached: sets,
        candidates: sets
          .list(namespace)
          .filter((set) => [undefined, deployment.metadata.uid].includes(controllerOf(set)?.uid)),
        selected: (set) => selects(deployment.spec.selector, set.metadata.labels),
      });
      const newSet = findNewSet(deployment, owned);
      const round: Round = {
        deployment,
        newSet,
        oldSets: owned.filter((set) => set !== newSet),
        conditions: withPause(deployment, ctx.now()),
      };
      if (deployment.metadata.deletionTimestamp !== undefined) return writeStatus(round, false);
      if (deployment.spec.paused === true || isScalingEvent(deployment, owned)) {
        if (newSet !== undefined) await ensureNewSet(round);
        await scaleAll(round, proportionalScaling(round.deployment, round.newSet, round.oldSets));
        if (deployment.spec.paused === true) await cleanUp(round);
        return writeStatus(round, false);
      }
      await (deployment.spec.strategy?.type === "Recreate" ? recreate(round) : roll(round));
      return writeStatus(round, true);
    },
  };

  async function roll(round: Round): Promise<void> {
    const newSet = await ensureNewSet(round);
    const replicas = newSetSize(round.deployment, [...round.oldSets, newSet], newSet);
    if (replicas !== sizeOf(newSet)) return scaleAll(round, [{ set: newSet, replicas }]);
    const shrinking = shrinkOldSets(round.deployment, newSet, round.oldSets);
    if (shrinking.length > 0) return scaleAll(round, shrinking);
    await cleanUpWhenComplete(round);
  }

  async function recreate(round: Round): Promise<void> {
    const live = round.oldSets.filter((set) => sizeOf(set) > 0);
    if (live.length > 0)
      return scaleAll(
        round,
        live.map((set) => ({ set, replicas: 0 })),
      );
    const oldPods = round.oldSets.flatMap((set) => pods.ownedBy(set.metadata.uid));
    if (oldPods.some((pod) => !isFinished(pod))) return;
    const newSet = await ensureNewSet(round);
    await scaleAll(round, [{ set: newSet, replicas: wantedOf(round.deployment) }]);
    await cleanUpWhenComplete(round);
  }

  /** The set of the present template, created where there is none, with the revision it stands for. */
  async function ensureNewSet(round: Round): Promise<ReplicaSet> {
    const revision = Math.max(0, ...round.oldSets.map(revisionOf)) + 1;
    const present = round.newSet;
    const set =
      present === undefined ? await createSet(round, revision) : await refreshSet(round, present, revision);
    round.newSet = set;
    const label = String(revisionOf(set));
    if (round.deployment.metadata.annotations?.[annotation.revision] !== label) {
      const patch = { metadata: { annotations: { [annotation.revision]: label } } };
      round.deployment = await deployments.patch(round.deployment, "merge", patch);
    }
    return set;
  }

  async function refreshSet(round: Round, set: ReplicaSet, revision: number): Promise<ReplicaSet> {
    const { deployment } = round;
    const { name } = set.metadata;
    if (hasDeadline(deployment) && conditionOf(round.conditions, "Progressing") === undefined) {
      addProgress(round, "FoundNewReplicaSet", `Found new replica set "${name}"`);
    }
    const annotations = newSetAnnotations(deployment, set, revision);
    const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
    const same =
      isSame(annotations, set.metadata.annotations) && minReadySeconds === (set.spec.minReadySeconds ?? 0);
    return same ? set : sets.patch(set, "merge", { metadata: { annotations }, spec: { minReadySeconds } });
  }

  async function createSet(round: Round, revision: number): Promise<ReplicaSet> {
    const { deployment } = round;
    const wanted = desiredSet(deployment, revision);
    wanted.spec.replicas = newSetSize(deployment, round.oldSets, undefined);
    try {
      const set = await sets.create(wanted);
      if (hasDeadline(deployment)) {
        addProgress(round, "NewReplicaSetCreated", `Created new replica set "${set.metadata.name}"`);
      }
      if (sizeOf(set) > 0) {
        recorder.event(
          deployment,
          "Normal",
          "ScalingReplicaSet",
          `Scaled up replica set ${set.metadata.name} from 0 to ${sizeOf(set)}`,
        );
      }
      return set;
    } catch (error) {
      if (error instanceof ApiError && error.reason === "AlreadyExists")
        await countCollision(deployment, wanted);
      else if (!isNamespaceGoing(error)) await reportCreateFailure(round, wanted, error);
      throw error;
    }
  }

  /** Two templates with one hash: the count goes into the next hash. */
  async function countCollision(deployment: Deployment, wanted: ReplicaSet): Promise<void> {
    const { name, namespace } = wanted.metadata;
    const taken = await ctx.client.find<ReplicaSet>(replicaSets, name, namespace);
    if (taken === undefined) return;
    sets.informer.put(taken);
    const ours = controllerOf(taken)?.uid === deployment.metadata.uid && sameTemplate(taken, deployment);
    if (ours) return;
    const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    await deployments.updateStatus(deployment, { ...deployment.status, collisionCount });
  }

  async function reportCreateFailure(round: Round, wanted: ReplicaSet, error: unknown): Promise<void> {
    const { deployment } = round;
    const message = `Failed to create new replica set "${wanted.metadata.name}": ${messageOf(error)}`;
    recorder.event(deployment, "Warning", "ReplicaSetCreateError", message);
    if (!hasDeadline(deployment)) return;
    const failed: Condition = {
      type: "Progressing",
      status: "False",
      reason: "ReplicaSetCreateError",
      message,
    };
    const conditions = setCondition(round.conditions, failed, ctx.now());
    await deployments.updateStatus(deployment, { ...deployment.status, conditions });
  }

  function addProgress(round: Round, reason: string, message: string): void {
    const condition: Condition = { type: "Progressing", status: "True", reason, message };
    round.conditions = setCondition(round.conditions, condition, ctx.now());
  }

  async function scaleAll(round: Round, scalings: Scaling[]): Promise<void> {
    const { deployment } = round;
    const wanted = wantedOf(deployment);
    const changes = new Map(scalings.map(({ set, replicas }) => [set, replicas]));
    const resize = async (set: ReplicaSet): Promise<ReplicaSet> => {
      const replicas = changes.get(set) ?? sizeOf(set);
      const annotations = {
        [annotation.desiredReplicas]: String(wanted),
        [annotation.maxReplicas]: String(wanted + fenceposts(deployment).maxSurge),
      };
      const current = Object.entries(annotations).every(
        ([key, value]) => set.metadata.annotations?.[key] === value,
      );
      if (replicas === sizeOf(set) && (current || replicas === 0)) return set;
      const next = await sets.patch(set, "merge", { metadata: { annotations }, spec: { replicas } });
      if (replicas !== sizeOf(set)) {
        const direction = replicas > sizeOf(set) ? "up" : "down";
        const message = `Scaled ${direction} replica set ${set.metadata.name} from ${sizeOf(set)} to ${replicas}`;
        recorder.event(deployment, "Normal", "ScalingReplicaSet", message);
      }
      return next;
    };
    round.oldSets = await Promise.all(round.oldSets.map(resize));
    if (round.newSet !== undefined) round.newSet = await resize(round.newSet);
  }

  async function cleanUpWhenComplete(round: Round): Promise<void> {
    const all = allSets(round);
    if (isComplete(round.deployment, deploymentCounts(round.deployment, round.newSet, all)))
      await cleanUp(round);
  }

  /** Deletes the oldest empty sets beyond the history limit. */
  async function cleanUp(round: Round): Promise<void> {
    const limit = round.deployment.spec.revisionHistoryLimit;
    if (limit === undefined) return;
    const alive = round.oldSets.filter((set) => set.metadata.deletionTimestamp === undefined);
    const excess = alive
      .sort((a, b) => revisionOf(a) - revisionOf(b))
      .slice(0, Math.max(0, alive.length - limit));
    for (const set of excess) {
      const behind = (set.metadata.generation ?? 0) > (set.status?.observedGeneration ?? 0);
      if (sizeOf(set) !== 0 || (set.status?.replicas ?? 0) !== 0 || behind) continue;
      await sets.delete(set, { propagationPolicy: "Background" });
      round.oldSets = round.oldSets.filter((other) => other !== set);
    }
  }

  async function writeStatus(round: Round, progress: boolean): Promise<{ requeueAfter?: number }> {
    const { deployment, newSet, conditions } = round;
    const now = ctx.now();
    const status = deploymentStatus({ deployment, newSet, sets: allSets(round), conditions, progress, now });
    await deployments.updateStatus(deployment, status);
    const waiting = conditionOf(status.conditions, "Progressing");
    const settled = ["NewReplicaSetAvailable", "ProgressDeadlineExceeded"].includes(waiting?.reason ?? "");
    if (!progress || waiting === undefined || settled) return {};
    return { requeueAfter: Math.max(0, deadlineIn(deployment, waiting, now)) + 1_000 };
  }
}

function allSets(round: Round): ReplicaSet[] {
  return round.newSet === undefined ? round.oldSets : [...round.oldSets, round.newSet];
}

/** Says in the progress condition that the rollout was paused or goes on, so that the deadline does not run meanwhile. */
function withPause(deployment: Deployment, now: number): Condition[] {
  const conditions = deployment.status?.conditions ?? [];
  const present = conditionOf(conditions, "Progressing");
  if (!hasDeadline(deployment) || present?.reason === "ProgressDeadlineExceeded") return conditions;
  const said = present?.reason === "DeploymentPaused";
  if ((deployment.spec.paused === true) === said) return conditions;
  const [reason, message] = said
    ? ["DeploymentResumed", "Deployment is resumed"]
    : ["DeploymentPaused", "Deployment is paused"];
  return setCondition(conditions, { type: "Progressing", status: "Unknown", reason, message }, now);
}

/** The oldest set of this very template. */
export function findNewSet(deployment: Deployment, sets: ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(byAge).find((set) => sameTemplate(set, deployment));
}

function sameTemplate(set: ReplicaSet, deployment: Deployment): boolean {
  const { metadata, spec } = set.spec.template ?? { spec: {} };
  return isSame(withoutHash({ metadata, spec }), withoutHash(deployment.spec.template));
}

function withoutHash({ metadata = {}, spec }: PodTemplate): object {
  const { [hashLabel]: _, ...labels } = metadata.labels ?? {};
  const { annotations } = metadata;
  return { labels, annotations: isSame(annotations, {}) ? undefined : annotations, spec };
}

/** The ReplicaSet of the Deployment's template, without its size. */
export function desiredSet(deployment: Deployment, revision: number): ReplicaSet {
  const { template, selector, minReadySeconds = 0 } = deployment.spec;
  const hash = hashOf(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  const { maxSurge } = fenceposts(deployment);
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace,
      labels,
      annotations: {
        ...copiedAnnotations(deployment),
        [annotation.revision]: String(revision),
        [annotation.desiredReplicas]: String(wantedOf(deployment)),
        [annotation.maxReplicas]: String(wantedOf(deployment) + maxSurge),
      },
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      minReadySeconds,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...structuredClone(template), metadata: { ...structuredClone(template.metadata), labels } },
    },
  };
}

/** Annotations that a set keeps for itself. */
const ownAnnotations = new Set<string>([
  "kubectl.kubernetes.io/last-applied-configuration",
  ...Object.values(annotation),
]);

function copiedAnnotations(deployment: Deployment): Record<string, string> {
  const entries = Object.entries(deployment.metadata.annotations ?? {});
  return Object.fromEntries(entries.filter(([key]) => !ownAnnotations.has(key)));
}

/** A set that becomes the newest again (a rollback) takes the next revision and remembers the one it had. */
function newSetAnnotations(
  deployment: Deployment,
  set: ReplicaSet,
  revision: number,
): Record<string, string> {
  const annotations = { ...set.metadata.annotations, ...copiedAnnotations(deployment) };
  const old = annotations[annotation.revision];
  if (Number(old ?? 0) >= revision) return annotations;
  annotations[annotation.revision] = String(revision);
  if (old !== undefined) {
    const history = annotations[annotation.revisionHistory];
    annotations[annotation.revisionHistory] = history === undefined ? old : `${history},${old}`;
  }
  return annotations;
}
