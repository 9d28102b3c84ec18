/** How services are: their release, workloads, pods and addresses, read from the cluster alone. */
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { ingresses, services as servicesResource } from "@kws/kube/resources";
import { readMark } from "./held.ts";
import type { Release } from "./releases.ts";
import { allPods, type NamespaceObjects, readNamespace, serviceOf, workloadsOf } from "./workloads.ts";

export interface PodStatus {
  name: string;
  /** The phase, or the reason that a container waits or ended, as `kubectl get pods` has it. */
  status: string;
  ready: string;
  restarts: number;
  startedAt: string;
  images: string[];
}

export interface ServiceStatus {
  service: string;
  stack: string;
  namespace: string;
  state: "ready" | "starting" | "failed";
  /** Ready and wanted replicas over all workloads. */
  ready: number;
  wanted: number;
  restarts: number;
  revision: number;
  release: string;
  /** Of the package; empty where the service was built where it was started. */
  version: string;
  /** Empty where it is not known. */
  profile: string;
  updatedAt: string;
  /** From outside where there is an Ingress, else inside the cluster. */
  address: string;
  /** Only in development mode: who began it, and when. */
  dev?: { by: string; since: string };
  pods: PodStatus[];
}

export interface StatusOptions {
  /** The port of Ingress hosts on this machine. */
  ingressPort?: number;
  signal?: AbortSignal;
}

export async function serviceStatuses(
  client: KubeClient,
  releases: Release[],
  options: StatusOptions = {},
): Promise<ServiceStatus[]> {
  const result: ServiceStatus[] = [];
  for (const namespace of new Set(releases.map((release) => release.namespace))) {
    const [objects, ingressList, serviceList] = await Promise.all([
      readNamespace(client, namespace, options.signal),
      client.list(ingresses, namespace),
      client.list(servicesResource, namespace),
    ]);
    for (const release of releases.filter((candidate) => candidate.namespace === namespace)) {
      const address = addressOf(release, ingressList.items, serviceList.items, options.ingressPort);
      result.push({ ...statusOf(release, objects), address });
    }
  }
  return result;
}

function statusOf(release: Release, objects: NamespaceObjects): Omit<ServiceStatus, "address"> {
  const workloads = workloadsOf(objects, release.service);
  const pods = allPods(objects, release.service, release.release).map(podStatus);
  const done = workloads.every((workload) => workload.done);
  const bad = release.status === "failed" || pods.some((pod) => /BackOff|Err|Error$/.test(pod.status));
  const mark = workloads.map(({ object }) => readMark(object)).find((found) => found !== undefined);
  return {
    service: release.service,
    stack: release.stack,
    namespace: release.namespace,
    state: release.status === "deployed" && done ? "ready" : bad ? "failed" : "starting",
    ready: sum(workloads.map((workload) => workload.ready)),
    wanted: sum(workloads.map((workload) => workload.wanted)),
    restarts: sum(pods.map((pod) => pod.restarts)),
    revision: release.revision,
    release: release.status,
    version: release.version,
    profile: release.profile,
    updatedAt: release.updatedAt,
    ...(mark === undefined ? {} : { dev: { by: mark.by, since: mark.since } }),
    pods,
  };
}

function podStatus(pod: KubeObject): PodStatus {
  const { spec, status = {} } = pod;
  const containers = (status.containerStatuses ?? []) as {
    ready?: boolean;
    restartCount?: number;
    image?: string;
    state?: { waiting?: { reason?: string }; terminated?: { reason?: string } };
  }[];
  const reason = containers
    .map(({ state }) => state?.waiting?.reason ?? state?.terminated?.reason)
    .find((candidate) => candidate !== undefined);
  const ending = pod.metadata.deletionTimestamp === undefined ? undefined : "Terminating";
  return {
    name: pod.metadata.name,
    status: ending ?? reason ?? String(status.phase ?? "Pending"),
    ready: `${containers.filter((container) => container.ready === true).length}/${spec?.containers?.length ?? 0}`,
    restarts: sum(containers.map((container) => container.restartCount ?? 0)),
    startedAt: String(status.startTime ?? ""),
    images: (spec?.containers ?? []).map((container: { image?: string }) => container.image ?? ""),
  };
}

/** Where a service is reached: its Ingress from outside, else a Service in the cluster; empty where it has neither. */
export function addressOf(
  release: Pick<Release, "service" | "namespace">,
  ingressItems: KubeObject[],
  serviceItems: KubeObject[],
  port?: number,
): string {
  const own = (object: KubeObject) => serviceOf(object) === release.service;
  for (const ingress of ingressItems.filter(own)) {
    const rule = ((ingress["spec"]?.rules ?? []) as { host?: string }[]).find(
      ({ host }) => host !== undefined,
    );
    const host = rule?.host;
    if (host === undefined) continue;
    const secure = ((ingress["spec"]?.tls ?? []) as { hosts?: string[] }[]).some(({ hosts }) =>
      hosts?.includes(host),
    );
    if (secure && port === undefined) return `https://${host}`;
    return port === undefined || port === 80 ? `http://${host}` : `http://${host}:${port}`;
  }
  // A chart may have more of them, for other names and for the names of single pods.
  const portOf = (object: KubeObject) => ((object["spec"]?.ports ?? []) as { port?: number }[])[0]?.port;
  const owned = serviceItems.filter(own);
  const candidates = [...owned.filter(({ metadata }) => metadata.name === release.service), ...owned];
  const service = candidates.find((object) => portOf(object) !== undefined) ?? candidates[0];
  if (service === undefined) return "";
  const first = portOf(service);
  return `${service.metadata.name}.${release.namespace}.svc${first === undefined ? "" : `:${first}`}`;
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
