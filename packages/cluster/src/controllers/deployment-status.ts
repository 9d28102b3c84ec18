/**
 * A Deployment's status from its ReplicaSets: counts and the conditions Available, Progressing and ReplicaFailure with
 * upstream's reasons (k8s.io/kubernetes pkg/controller/deployment/progress.go). Pure.
 */
import { conditionOf, withoutCondition, type Condition } from "./conditions.ts";
import { timestamp } from "./context.ts";
import { positive, type ReplicaSet } from "./replicaset.ts";
import { fenceposts, sizeOf, wantedOf, type Deployment, type DeploymentStatus } from "./rollout.ts";

/** A deadline of the largest 32-bit number means none. */
const noDeadline = 2_147_483_647;

export function hasDeadline(deployment: Deployment): boolean {
  const seconds = deployment.spec.progressDeadlineSeconds;
  return seconds !== undefined && seconds !== noDeadline;
}

export function deploymentCounts(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  sets: ReplicaSet[],
): DeploymentStatus {
  const sum = (field: "replicas" | "readyReplicas" | "availableReplicas" | "terminatingReplicas"): number =>
    sets.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
  const available = sum("availableReplicas");
  const wanted = sets.reduce((total, set) => total + sizeOf(set), 0);
  return {
    ...positive("observedGeneration", deployment.metadata.generation ?? 0),
    ...positive("replicas", sum("replicas")),
    ...positive("updatedReplicas", newSet?.status?.replicas ?? 0),
    ...positive("readyReplicas", sum("readyReplicas")),
    ...positive("availableReplicas", available),
    ...positive("unavailableReplicas", Math.max(0, wanted - available)),
    terminatingReplicas: sum("terminatingReplicas"),
    ...(deployment.status?.collisionCount === undefined
      ? {}
      : { collisionCount: deployment.status.collisionCount }),
  };
}

export interface StatusInput {
  deployment: Deployment;
  newSet: ReplicaSet | undefined;
  sets: ReplicaSet[];
  /** Conditions so far; the present ones with what this round has added. */
  conditions: Condition[];
  /** False where only counts are refreshed: paused, scaling or being deleted. */
  progress: boolean;
  now: number;
}

export function deploymentStatus(input: StatusInput): DeploymentStatus {
  const { deployment, newSet, sets, now } = input;
  const counts = deploymentCounts(deployment, newSet, sets);
  let conditions = setCondition(input.conditions, availableCondition(deployment, counts), now);
  if (input.progress) {
    conditions = withProgress(input, counts, conditions);
    const failure = [newSet, ...sets]
      .map((set) => conditionOf(set?.status?.conditions, "ReplicaFailure"))
      .find((condition) => condition !== undefined);
    conditions =
      failure === undefined
        ? withoutCondition(conditions, "ReplicaFailure")
        : setCondition(conditions, { ...failure }, now);
  }
  return { ...counts, conditions };
}

function availableCondition(deployment: Deployment, counts: DeploymentStatus): Condition {
  const enough = wantedOf(deployment) - fenceposts(deployment).maxUnavailable;
  return (counts.availableReplicas ?? 0) >= enough
    ? {
        type: "Available",
        status: "True",
        reason: "MinimumReplicasAvailable",
        message: "Deployment has minimum availability.",
      }
    : {
        type: "Available",
        status: "False",
        reason: "MinimumReplicasUnavailable",
        message: "Deployment does not have minimum availability.",
      };
}

function withProgress(input: StatusInput, counts: DeploymentStatus, conditions: Condition[]): Condition[] {
  const { deployment, newSet, now } = input;
  if (!hasDeadline(deployment)) return withoutCondition(conditions, "Progressing");
  const present = conditionOf(conditions, "Progressing");
  const settled =
    (counts.replicas ?? 0) === (counts.updatedReplicas ?? 0) && present?.reason === "NewReplicaSetAvailable";
  if (settled) return conditions;
  const subject =
    newSet === undefined
      ? `Deployment "${deployment.metadata.name}"`
      : `ReplicaSet "${newSet.metadata.name}"`;
  const condition = (status: Condition["status"], reason: string, what: string): Condition => ({
    type: "Progressing",
    status,
    reason,
    message: `${subject} ${what}`,
  });
  if (isComplete(deployment, counts)) {
    return setCondition(
      conditions,
      condition("True", "NewReplicaSetAvailable", "has successfully progressed."),
      now,
    );
  }
  if (isProgressing(deployment.status ?? {}, counts)) {
    const next = condition("True", "ReplicaSetUpdated", "is progressing.");
    // Progress restarts the deadline even where the condition stays the same.
    return setCondition(conditions, next, now, true);
  }
  if (isTimedOut(deployment, present, now)) {
    return setCondition(
      conditions,
      condition("False", "ProgressDeadlineExceeded", "has timed out progressing."),
      now,
    );
  }
  return conditions;
}

export function isComplete(deployment: Deployment, counts: DeploymentStatus): boolean {
  const wanted = wantedOf(deployment);
  return (
    (counts.updatedReplicas ?? 0) === wanted &&
    (counts.replicas ?? 0) === wanted &&
    (counts.availableReplicas ?? 0) === wanted
  );
}

function isProgressing(old: DeploymentStatus, next: DeploymentStatus): boolean {
  const oldCount = (field: keyof DeploymentStatus): number => Number(old[field] ?? 0);
  const count = (field: keyof DeploymentStatus): number => Number(next[field] ?? 0);
  return (
    count("updatedReplicas") > oldCount("updatedReplicas") ||
    count("replicas") - count("updatedReplicas") < oldCount("replicas") - oldCount("updatedReplicas") ||
    count("readyReplicas") > oldCount("readyReplicas") ||
    count("availableReplicas") > oldCount("availableReplicas")
  );
}

function isTimedOut(deployment: Deployment, present: Condition | undefined, now: number): boolean {
  if (present === undefined || present.reason === "NewReplicaSetAvailable") return false;
  if (present.reason === "ProgressDeadlineExceeded") return true;
  return deadlineIn(deployment, present, now) <= 0;
}

/** Milliseconds until the deadline of the present progress condition. */
export function deadlineIn(deployment: Deployment, present: Condition, now: number): number {
  const from = Date.parse(present.lastUpdateTime ?? present.lastTransitionTime ?? "") || now;
  return from + (deployment.spec.progressDeadlineSeconds ?? 600) * 1_000 - now;
}

/** Unlike other conditions, a new message alone changes nothing; `touch` renews the update time regardless. */
export function setCondition(list: Condition[], next: Condition, now: number, touch = false): Condition[] {
  const old = conditionOf(list, next.type);
  if (!touch && old !== undefined && old.status === next.status && old.reason === next.reason) return list;
  const lastTransitionTime = old?.status === next.status ? old.lastTransitionTime : timestamp(now);
  const condition = { ...next, lastUpdateTime: timestamp(now), lastTransitionTime };
  return old === undefined ? [...list, condition] : list.map((item) => (item === old ? condition : item));
}
