/** Which pods are behind a service's port right now. */
import { UserError } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import type { PodPort } from "@kws/kube/port-forward";
import { endpointSlices, services } from "@kws/kube/resources";
import { readNamespace, serviceOf, workloadsOf } from "../services/workloads.ts";

/** A port of a service, as people name it. */
export interface Target {
  /** The service's name in kws. */
  service: string;
  namespace: string;
  /** The Kubernetes Service; undefined where the service has none, and its pods are asked directly. */
  kubeService: string | undefined;
  /** The Service's port or that port's name, or else a port of the pods. */
  port: number | string;
}

export interface ServicePort {
  name?: string;
  port: number;
  protocol?: string;
  targetPort?: number | string;
  appProtocol?: string;
}

/** The Kubernetes Services of a service. */
export async function kubeServicesOf(
  client: KubeClient,
  service: string,
  namespace: string,
  signal: AbortSignal,
): Promise<KubeObject[]> {
  const { items } = await client.list(services, namespace, { signal });
  const own = items.filter((object) => serviceOf(object) === service);
  // The one that has the service's name is the one that is meant where two have the same port.
  return own.toSorted((a, b) => Number(b.metadata.name === service) - Number(a.metadata.name === service));
}

export function portsOf(object: KubeObject): ServicePort[] {
  return (object["spec"]?.ports ?? []) as ServicePort[];
}

/** The Service's port that is meant; undefined where it has none of that number or name. */
export function findPort(object: KubeObject, port: number | string): ServicePort | undefined {
  return portsOf(object).find((one) => one.port === port || one.name === port);
}

interface Slice {
  ports?: { name?: string; port?: number; protocol?: string }[];
  endpoints?: {
    conditions?: { ready?: boolean; terminating?: boolean };
    targetRef?: { kind?: string; name?: string };
  }[];
}

/** The ready pods, in no order. */
export async function findBackends(
  client: KubeClient,
  { service, namespace, kubeService, port }: Target,
  signal: AbortSignal,
): Promise<PodPort[]> {
  if (kubeService === undefined) {
    const objects = await readNamespace(client, namespace, signal);
    return workloadsOf(objects, service)
      .flatMap((workload) => workload.pods)
      .filter(isReady)
      .map(({ metadata }) => ({ namespace, pod: metadata.name, port: Number(port) }));
  }
  const [object, { items }] = await Promise.all([
    client.get(services, kubeService, namespace, { signal }),
    client.list(endpointSlices, namespace, {
      labelSelector: `kubernetes.io/service-name=${kubeService}`,
      signal,
    }),
  ]);
  const wanted = findPort(object, port);
  const found = (items as unknown as Slice[]).flatMap(({ ports = [], endpoints = [] }) => {
    const number =
      wanted === undefined ? Number(port) : ports.find(({ name = "" }) => name === (wanted.name ?? ""))?.port;
    if (number === undefined) return [];
    return endpoints
      .filter(({ conditions, targetRef }) => conditions?.ready !== false && targetRef?.kind === "Pod")
      .map(({ targetRef }) => ({ namespace, pod: targetRef?.name ?? "", port: number }));
  });
  return [...new Map(found.map((backend) => [backend.pod, backend])).values()];
}

function isReady({ metadata, status }: KubeObject): boolean {
  const conditions = (status?.conditions ?? []) as { type: string; status: string }[];
  return (
    metadata.deletionTimestamp === undefined &&
    conditions.some(({ type, status }) => type === "Ready" && status === "True")
  );
}

/** Throws for a port that the service does not have under that name, and for UDP, which the API server does not carry. */
export function checkPort(service: string, objects: KubeObject[], port: number | string): void {
  const known = objects.flatMap(portsOf);
  const found = known.filter((one) => one.port === port || one.name === port);
  if (found.length > 0 && found.every(({ protocol = "TCP" }) => protocol !== "TCP")) {
    throw new UserError(`port ${port} of ${service} is ${found[0]?.protocol}`, {
      code: "usage",
      fix: "Only TCP can be forwarded through the Kubernetes API.",
    });
  }
  if (found.length > 0 || typeof port === "number") return;
  const names = known.map((one) => (one.name === undefined ? one.port : `${one.name} (${one.port})`));
  throw new UserError(`${service} has no port "${port}"`, {
    code: "not-found",
    fix: names.length === 0 ? "Name a number." : `It has ${names.join(", ")}.`,
  });
}
