/**
 * Whether an object has become what its spec asks for, from the object alone, for any kind: the rules of kstatus
 * (https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus), which helm's `--wait` applies as well.
 */
import type { KubeObject } from "./object.ts";

export type ReadinessStatus = "Current" | "InProgress" | "Failed" | "Terminating";

export interface Readiness {
  status: ReadinessStatus;
  /** A sentence for people. */
  message: string;
}

/** As most kinds have them in their status (metav1.Condition). */
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  /** RFC 3339. */
  lastTransitionTime?: string;
}

const current = (message: string): Readiness => ({ status: "Current", message });
const inProgress = (message: string): Readiness => ({ status: "InProgress", message });
const failed = (message: string): Readiness => ({ status: "Failed", message });

type Rule = (object: KubeObject) => Readiness;

/** By group/Kind; the core group has no group. */
const rules: Record<string, Rule> = {
  "apps/Deployment": deployment,
  "apps/StatefulSet": statefulSet,
  "apps/DaemonSet": daemonSet,
  "apps/ReplicaSet": replicaSet,
  ReplicationController: replicaSet,
  "batch/Job": job,
  "batch/CronJob": () => current("CronJob is scheduled"),
  Pod: pod,
  PersistentVolumeClaim: persistentVolumeClaim,
  Service: service,
  "policy/PodDisruptionBudget": () => current("the budget is observed"),
  "apiextensions.k8s.io/CustomResourceDefinition": customResourceDefinition,
  "networking.k8s.io/Ingress": () => current("Ingress is served"),
};

export function readinessOf(object: KubeObject): Readiness {
  if (object.metadata.deletionTimestamp !== undefined) {
    return { status: "Terminating", message: "deletion is under way" };
  }
  return behind(object) ?? (rules[groupKindOf(object)] ?? generic)(object);
}

function groupKindOf({ apiVersion, kind }: KubeObject): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? kind : `${apiVersion.slice(0, slash)}/${kind}`;
}

/** The controller has not seen the newest spec, or says itself how far it is with kstatus's own conditions. */
function behind(object: KubeObject): Readiness | undefined {
  const observed = object["status"]?.observedGeneration as number | undefined;
  const { generation } = object.metadata;
  if (observed !== undefined && generation !== undefined && observed !== generation) {
    return inProgress(
      `${object.kind} generation is ${generation}, but latest observed generation is ${observed}`,
    );
  }
  const reconciling = conditionOf(object, "Reconciling");
  if (reconciling?.status === "True") return inProgress(reconciling.message ?? "reconciling");
  const stalled = conditionOf(object, "Stalled");
  if (stalled?.status === "True") return failed(stalled.message ?? "stalled");
  return undefined;
}

/** Objects without any conditions count as current as soon as they exist. */
function generic(object: KubeObject): Readiness {
  const ready = conditionOf(object, "Ready");
  if (ready === undefined || ready.status === "True") return current("Resource is current");
  return inProgress(ready.message ?? "not ready");
}

function deployment(object: KubeObject): Readiness {
  const { spec, status = {} } = object;
  const wanted: number = spec?.replicas ?? 1;
  const progressing = conditionOf(object, "Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded") {
    return failed(progressing.message ?? "Progress deadline exceeded");
  }
  if (status.observedGeneration === undefined) return inProgress("Deployment has not been observed yet");
  const count = counts(status);
  if (count("replicas") < wanted) return inProgress(`replicas: ${count("replicas")}/${wanted}`);
  if (count("updatedReplicas") < wanted) return inProgress(`Updated: ${count("updatedReplicas")}/${wanted}`);
  if (count("replicas") > count("updatedReplicas")) {
    return inProgress(`Pending termination: ${count("replicas") - count("updatedReplicas")}`);
  }
  if (count("updatedReplicas") > count("availableReplicas")) {
    return inProgress(`Available: ${count("availableReplicas")}/${count("updatedReplicas")}`);
  }
  if (count("readyReplicas") < wanted) return inProgress(`Ready: ${count("readyReplicas")}/${wanted}`);
  if (wanted > 0 && conditionOf(object, "Available")?.status !== "True") {
    return inProgress("Deployment is not available");
  }
  return current(`Deployment is available. Replicas: ${count("replicas")}`);
}

function statefulSet({ spec, status = {} }: KubeObject): Readiness {
  if (spec?.updateStrategy?.type === "OnDelete") return current("StatefulSet is using the OnDelete strategy");
  if (status.observedGeneration === undefined) return inProgress("StatefulSet has not been observed yet");
  const wanted: number = spec?.replicas ?? 1;
  const count = counts(status);
  if (count("replicas") < wanted) return inProgress(`Replicas: ${count("replicas")}/${wanted}`);
  if (count("readyReplicas") < wanted) return inProgress(`Ready: ${count("readyReplicas")}/${wanted}`);
  if (count("replicas") > wanted) return inProgress(`Pending termination: ${count("replicas") - wanted}`);
  const partition: number = spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  if (partition > 0) {
    const updated = Math.max(0, wanted - partition);
    if (count("updatedReplicas") < updated) {
      return inProgress(`updated: ${count("updatedReplicas")}/${updated}`);
    }
    return current(`Partition rollout complete. updated: ${count("updatedReplicas")}`);
  }
  if (count("currentReplicas") < wanted) return inProgress(`current: ${count("currentReplicas")}/${wanted}`);
  if (status.currentRevision !== status.updateRevision)
    return inProgress("Waiting for updated revision to match current");
  return current(`All replicas scheduled as expected. Replicas: ${count("replicas")}`);
}

function daemonSet({ status = {} }: KubeObject): Readiness {
  if (status.observedGeneration === undefined) return inProgress("DaemonSet has not been observed yet");
  const count = counts(status);
  const wanted = count("desiredNumberScheduled");
  for (const field of [
    "currentNumberScheduled",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberReady",
  ]) {
    if (count(field) < wanted) return inProgress(`${field}: ${count(field)}/${wanted}`);
  }
  return current(`All replicas scheduled as expected. Replicas: ${wanted}`);
}

function replicaSet(object: KubeObject): Readiness {
  const { spec, status = {} } = object;
  const failure = conditionOf(object, "ReplicaFailure");
  if (failure?.status === "True") return inProgress(failure.message ?? "Replica failure");
  const wanted: number = spec?.replicas ?? 1;
  const count = counts(status);
  for (const field of ["replicas", "availableReplicas", "readyReplicas"]) {
    if (count(field) < wanted) return inProgress(`${field}: ${count(field)}/${wanted}`);
  }
  if (count("replicas") > wanted) return inProgress(`Pending termination: ${count("replicas") - wanted}`);
  return current(`ReplicaSet is available. Replicas: ${count("replicas")}`);
}

/** As helm's wait for Jobs: done, not merely started. */
function job(object: KubeObject): Readiness {
  const { spec, status = {} } = object;
  const failure = conditionOf(object, "Failed");
  if (failure?.status === "True") return failed(failure.message ?? "Job failed");
  const count = counts(status);
  if (conditionOf(object, "Complete")?.status === "True") {
    return current(`Job Completed. succeeded: ${count("succeeded")}/${spec?.completions ?? 1}`);
  }
  if (spec?.suspend === true) return inProgress("Job is suspended");
  if (status.startTime === undefined) return inProgress("Job not started");
  return inProgress(
    `Job in progress. active: ${count("active")}, succeeded: ${count("succeeded")}, failed: ${count("failed")}`,
  );
}

interface ContainerStatus {
  name: string;
  state?: { waiting?: { reason?: string; message?: string } };
}

/** Waiting reasons that do not pass by themselves. */
const stuck = new Set([
  "CrashLoopBackOff",
  "ImagePullBackOff",
  "ErrImagePull",
  "ErrImageNeverPull",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
]);

function pod(object: KubeObject): Readiness {
  const { status = {} } = object;
  switch (status.phase) {
    case "Succeeded":
      return current("Pod has completed successfully");
    case "Failed":
      return failed(status.message ?? status.reason ?? "Pod has failed");
    case "Running":
    case "Pending":
      break;
    default:
      return inProgress("Pod phase is not known yet");
  }
  const containers = [
    ...((status.initContainerStatuses ?? []) as ContainerStatus[]),
    ...((status.containerStatuses ?? []) as ContainerStatus[]),
  ];
  for (const { name, state } of containers) {
    const reason = state?.waiting?.reason;
    if (reason !== undefined && stuck.has(reason)) {
      const detail = state?.waiting?.message;
      return failed(`container ${name} is in ${reason}${detail === undefined ? "" : `: ${detail}`}`);
    }
  }
  if (conditionOf(object, "Ready")?.status === "True") return current("Pod is Ready");
  const scheduled = conditionOf(object, "PodScheduled");
  if (scheduled?.status === "False") return inProgress(scheduled.message ?? "Pod could not be scheduled");
  return inProgress(
    status.phase === "Running" ? "Pod is running but is not Ready" : "Pod is in the Pending phase",
  );
}

function persistentVolumeClaim({ status = {} }: KubeObject): Readiness {
  if (status.phase === "Bound") return current("PVC is Bound");
  if (status.phase === "Lost") return failed("the volume of the claim is lost");
  return inProgress(`PVC is not Bound. phase: ${status.phase ?? "unknown"}`);
}

function service({ spec, status = {} }: KubeObject): Readiness {
  if (spec?.type === "LoadBalancer" && (status.loadBalancer?.ingress ?? []).length === 0) {
    return inProgress("the load balancer has no address yet");
  }
  return current("Service is ready");
}

function customResourceDefinition(object: KubeObject): Readiness {
  const names = conditionOf(object, "NamesAccepted");
  if (names?.status === "False") return failed(names.message ?? "the names are taken");
  if (conditionOf(object, "Established")?.status === "True") return current("CRD is established");
  return inProgress("Install in progress");
}

/** The condition of that type; undefined where the status does not tell it. */
export function conditionOf(object: KubeObject, type: string): Condition | undefined {
  const conditions = object["status"]?.conditions as Condition[] | undefined;
  return conditions?.find((condition) => condition.type === type);
}

/** Absent counts are zero. */
function counts(status: Record<string, unknown>): (field: string) => number {
  return (field) => Number(status[field] ?? 0);
}
