/** What a release runs: its workloads, the pods of their current template, and whether they are ready. */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { conditionOf, readinessOf } from "@kws/kube/readiness";
import { daemonSets, deployments, jobs, pods, replicaSets, statefulSets } from "@kws/kube/resources";
import { selects } from "@kws/kube/selector";
import { hookAnnotation, instanceLabel, releaseAnnotation, serviceLabel } from "./labels.ts";

/** All that is looked at in a namespace. List answers leave out the items' kind, so each kind has a list of its own. */
export interface NamespaceObjects {
  deployments: KubeObject[];
  statefulSets: KubeObject[];
  daemonSets: KubeObject[];
  jobs: KubeObject[];
  replicaSets: KubeObject[];
  pods: KubeObject[];
}

export const watchedResources: Record<keyof NamespaceObjects, Resource> = {
  deployments,
  statefulSets,
  daemonSets,
  jobs,
  replicaSets,
  pods,
};

export async function readNamespace(
  client: KubeClient,
  namespace: string,
  signal?: AbortSignal,
): Promise<NamespaceObjects> {
  const options = signal === undefined ? {} : { signal };
  const entries = await Promise.all(
    Object.entries(watchedResources).map(async ([key, resource]) => {
      return [key, (await client.list(resource, namespace, options)).items] as const;
    }),
  );
  return Object.fromEntries(entries) as unknown as NamespaceObjects;
}

export type WorkloadKind = "Deployment" | "StatefulSet" | "DaemonSet" | "Job";

export interface Workload {
  kind: WorkloadKind;
  name: string;
  object: KubeObject;
  ready: number;
  wanted: number;
  /** True where the current template is rolled out completely. */
  done: boolean;
  /** Of the current template; none until the controller has seen it. */
  pods: KubeObject[];
  /**
   * Of an older template, and in the way where they are broken: a StatefulSet replaces one pod at a time, and waits for a
   * broken one for ever (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback).
   */
  stale: KubeObject[];
}

/** The service of an object that Helm made: that of the label, which those of a shared release need, or else the release. */
export function serviceOf({ metadata }: KubeObject): string | undefined {
  const release = metadata.annotations?.[releaseAnnotation];
  return release === undefined ? undefined : (metadata.labels?.[serviceLabel] ?? release);
}

/** The workloads of a service; hooks are not among them. */
export function workloadsOf(objects: NamespaceObjects, service: string): Workload[] {
  const own = (object: KubeObject) =>
    serviceOf(object) === service &&
    object.metadata.annotations?.[hookAnnotation] === undefined &&
    object.metadata.deletionTimestamp === undefined;
  return [
    ...objects.deployments.filter(own).map((object) => deployment(object, objects)),
    ...objects.statefulSets.filter(own).map((object) => statefulSet(object, objects)),
    ...objects.daemonSets.filter(own).map((object) => daemonSet(object, objects)),
    ...objects.jobs.filter(own).map((object) => job(object, objects)),
  ];
}

const observed = (object: KubeObject) =>
  Number(object["status"]?.observedGeneration ?? 0) >= (object.metadata.generation ?? 0);

/** Lists leave out what the items are, and readiness goes by it. */
const isCurrent = (object: KubeObject, kind: WorkloadKind) =>
  readinessOf({ ...object, apiVersion: "apps/v1", kind }).status === "Current";

function deployment(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  const revision = (set: KubeObject) =>
    Number(set.metadata.annotations?.["deployment.kubernetes.io/revision"] ?? 0);
  const sets = objects.replicaSets
    .filter((set) => isOwned(set, object))
    .toSorted((a, b) => revision(b) - revision(a));
  // A paused Deployment keeps the pods that it has; those of an old template are otherwise on their way out.
  const running = spec?.paused === true ? sets : sets.slice(0, 1);
  return {
    kind: "Deployment",
    name: object.metadata.name,
    object,
    ready: Number(status.availableReplicas ?? 0),
    wanted: Number(spec?.replicas ?? 1),
    done: observed(object) && isCurrent(object, "Deployment"),
    pods: observed(object) ? objects.pods.filter((pod) => running.some((set) => isOwned(pod, set))) : [],
    stale: [],
  };
}

function statefulSet(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  const own = observed(object) ? objects.pods.filter((pod) => isOwned(pod, object)) : [];
  const { updateRevision } = status;
  const isOld = (pod: KubeObject) =>
    updateRevision !== undefined && pod.metadata.labels?.["controller-revision-hash"] !== updateRevision;
  const partition = Number(spec?.updateStrategy?.rollingUpdate?.partition ?? 0);
  const rolls = spec?.updateStrategy?.type !== "OnDelete" && partition === 0;
  return {
    kind: "StatefulSet",
    name: object.metadata.name,
    object,
    ready: Number(status.readyReplicas ?? 0),
    wanted: Number(spec?.replicas ?? 1),
    done: observed(object) && isCurrent(object, "StatefulSet"),
    // Where nothing replaces them, pods of an old template are what runs.
    pods: rolls ? own.filter((pod) => !isOld(pod)) : own,
    stale: rolls ? own.filter(isOld) : [],
  };
}

function daemonSet(object: KubeObject, objects: NamespaceObjects): Workload {
  const { status = {} } = object;
  const own = observed(object) ? objects.pods.filter((pod) => isOwned(pod, object)) : [];
  const wanted = Number(status.desiredNumberScheduled ?? 0);
  return {
    kind: "DaemonSet",
    name: object.metadata.name,
    object,
    ready: Number(status.numberAvailable ?? 0),
    wanted,
    done: observed(object) && isCurrent(object, "DaemonSet"),
    pods: Number(status.updatedNumberScheduled ?? 0) >= wanted ? own : newest(own),
    stale: [],
  };
}

/** The pods of the template that the youngest pod has: the controller replaces broken ones of older templates first. */
function newest(pods: KubeObject[]): KubeObject[] {
  const hashOf = (pod: KubeObject | undefined) => pod?.metadata.labels?.["controller-revision-hash"];
  const created = (pod: KubeObject) => pod.metadata.creationTimestamp ?? "";
  const youngest = pods.toSorted((a, b) => created(b).localeCompare(created(a)))[0];
  return pods.filter((pod) => hashOf(pod) === hashOf(youngest));
}

/** A Job of a chart may run for long: it counts as ready while it has not failed. */
function job(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  return {
    kind: "Job",
    name: object.metadata.name,
    object,
    ready: Number(status.succeeded ?? 0),
    wanted: Number(spec?.completions ?? 1),
    done: !hasFailed(object),
    pods: objects.pods.filter((pod) => isOwned(pod, object)),
    stale: [],
  };
}

export function hasFailed(job: KubeObject): boolean {
  return conditionOf(job, "Failed")?.status === "True";
}

/** The Jobs that are hooks of a service: they carry no release annotation, so labels and names must do. */
export function hookJobs(objects: NamespaceObjects, service: string, release = service): KubeObject[] {
  return objects.jobs.filter(({ metadata }) => {
    if (metadata.annotations?.[hookAnnotation] === undefined) return false;
    const instance = metadata.labels?.[instanceLabel];
    if (instance === service && release === service) return true;
    return (instance === undefined || instance === release) && metadata.name.startsWith(`${service}-`);
  });
}

export function isOwned(object: KubeObject, owner: KubeObject): boolean {
  return object.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) === true;
}

/** Every pod of a service, of old templates and of hooks too. */
export function allPods(objects: NamespaceObjects, service: string, release = service): KubeObject[] {
  const owners = [
    ...workloadsOf(objects, service).map((workload) => workload.object),
    ...hookJobs(objects, service, release),
  ];
  return objects.pods.filter(
    (pod) =>
      owners.some((owner) => isOwned(pod, owner)) ||
      owners.some(
        (owner) =>
          owner["spec"]?.template !== undefined && selects(owner["spec"].selector, pod.metadata.labels),
      ),
  );
}
