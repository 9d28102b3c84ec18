/** What a release runs: its workloads, the pods of their current template, and whether they are ready. */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { daemonSets, deployments, jobs, pods, replicaSets, statefulSets } from "@kws/kube/resources";
import { selects } from "@kws/kube/selector";
import { hookAnnotation, releaseAnnotation } from "./labels.ts";

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
  /** Of the current template. */
  pods: KubeObject[];
}

/** The workloads of a release, found by Helm's annotation; hooks are not among them. */
export function workloadsOf(objects: NamespaceObjects, release: string): Workload[] {
  const own = (object: KubeObject) =>
    object.metadata.annotations?.[releaseAnnotation] === release &&
    object.metadata.annotations[hookAnnotation] === undefined &&
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

/** Complete as `kubectl rollout status` has it (k8s.io/kubectl polymorphichelpers/rollout_status.go). */
function deployment(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  const wanted = Number(spec?.replicas ?? 1);
  const updated = Number(status.updatedReplicas ?? 0);
  const ready = Number(status.availableReplicas ?? 0);
  const done =
    observed(object) && updated >= wanted && Number(status.replicas ?? 0) <= updated && ready >= updated;
  const revision = (set: KubeObject) =>
    Number(set.metadata.annotations?.["deployment.kubernetes.io/revision"] ?? 0);
  const current = objects.replicaSets
    .filter((set) => isOwned(set, object))
    .toSorted((a, b) => revision(b) - revision(a))[0];
  const pods =
    current === undefined || !observed(object) ? [] : objects.pods.filter((pod) => isOwned(pod, current));
  return { kind: "Deployment", name: object.metadata.name, object, ready, wanted, done, pods };
}

function statefulSet(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  const wanted = Number(spec?.replicas ?? 1);
  const ready = Number(status.readyReplicas ?? 0);
  const rolled =
    spec?.updateStrategy?.type === "OnDelete" ||
    status.updateRevision === status.currentRevision ||
    Number(status.updatedReplicas ?? 0) >=
      wanted - Number(spec?.updateStrategy?.rollingUpdate?.partition ?? 0);
  const pods = objects.pods.filter(
    (pod) =>
      isOwned(pod, object) &&
      (status.updateRevision === undefined ||
        pod.metadata.labels?.["controller-revision-hash"] === status.updateRevision),
  );
  const done = observed(object) && ready >= wanted && rolled;
  return { kind: "StatefulSet", name: object.metadata.name, object, ready, wanted, done, pods };
}

function daemonSet(object: KubeObject, objects: NamespaceObjects): Workload {
  const { status = {} } = object;
  const wanted = Number(status.desiredNumberScheduled ?? 0);
  const ready = Number(status.numberAvailable ?? 0);
  const done = observed(object) && Number(status.updatedNumberScheduled ?? 0) >= wanted && ready >= wanted;
  const pods = objects.pods.filter((pod) => isOwned(pod, object));
  return { kind: "DaemonSet", name: object.metadata.name, object, ready, wanted, done, pods };
}

/** A Job of a chart may run for long: it counts as ready while it has not failed. */
function job(object: KubeObject, objects: NamespaceObjects): Workload {
  const { spec, status = {} } = object;
  const ready = Number(status.succeeded ?? 0);
  const wanted = Number(spec?.completions ?? 1);
  const pods = objects.pods.filter((pod) => isOwned(pod, object));
  return { kind: "Job", name: object.metadata.name, object, ready, wanted, done: !hasFailed(object), pods };
}

export function hasFailed(job: KubeObject): boolean {
  return condition(job, "Failed")?.status === "True";
}

/** The Jobs that are hooks of a release: they carry no release annotation, so labels and names must do. */
export function hookJobs(objects: NamespaceObjects, release: string): KubeObject[] {
  return objects.jobs.filter(({ metadata }) => {
    if (metadata.annotations?.[hookAnnotation] === undefined) return false;
    const instance = metadata.labels?.["app.kubernetes.io/instance"];
    return instance === undefined ? metadata.name.startsWith(`${release}-`) : instance === release;
  });
}

export function isOwned(object: KubeObject, owner: KubeObject): boolean {
  return object.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) === true;
}

/** Every pod of a release, of old templates and of hooks too. */
export function allPods(objects: NamespaceObjects, release: string): KubeObject[] {
  const owners = [
    ...workloadsOf(objects, release).map((workload) => workload.object),
    ...hookJobs(objects, release),
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

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export function condition(object: KubeObject, type: string): Condition | undefined {
  const conditions = object["status"]?.conditions as Condition[] | undefined;
  return conditions?.find((candidate) => candidate.type === type);
}
