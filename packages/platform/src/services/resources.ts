/** Processor time and memory: what pods ask for, what they may have, and what they use where the cluster measures it. */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { parseQuantity } from "@kws/kube/quantity";
import { nodes, pods } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";

export interface Share {
  /** Only where the cluster measures it. */
  used?: number;
  requested: number;
  /** Only where every container of the pod has one. */
  limit?: number;
}

export interface PodResources {
  /** Cores. */
  cpu: Share;
  /** Bytes. */
  memory: Share;
}

const podMetrics: Resource = {
  group: "metrics.k8s.io",
  version: "v1beta1",
  resource: "pods",
  namespaced: true,
};

/** By the pod's name. */
export async function podResources(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<Map<string, PodResources>> {
  const [all, measured] = await Promise.all([
    client.list(pods, namespace, { signal }),
    // Clusters without metrics-server know no such resource.
    unless(client.list(podMetrics, namespace, { signal }), "NotFound", "ServiceUnavailable", "Forbidden"),
  ]);
  const used = new Map(measured?.items.map((item) => [item.metadata.name, item]));
  return new Map(
    all.items.map((pod) => {
      const { name } = pod.metadata;
      const usage = (used.get(name)?.["containers"] ?? undefined) as Container[] | undefined;
      return [name, { cpu: shareOf(pod, usage, "cpu"), memory: shareOf(pod, usage, "memory") }];
    }),
  );
}

export interface MemoryRequests {
  /** Bytes that pods ask for already. */
  requested: number;
  /** Bytes that the nodes have for pods. */
  allocatable: number;
}

/** Without the pods that are to be replaced. Undefined where the user may not look at all of the cluster. */
export async function memoryRequests(
  client: KubeClient,
  isReplaced: (pod: KubeObject) => boolean,
  signal: AbortSignal,
): Promise<MemoryRequests | undefined> {
  const found = await nodesAndPods(client, signal);
  if (found === undefined) return undefined;
  const shares = found.running
    .filter((pod) => !isReplaced(pod))
    .map((pod) => shareOf(pod, undefined, "memory"));
  return { requested: sum(shares.map(({ requested }) => requested)), allocatable: found.allocatable };
}

export interface MemoryCommitment {
  /** Bytes that all pods may use: their limits, or what they ask for where they have none. */
  promised: number;
  /** Bytes that the nodes have for pods. */
  allocatable: number;
}

/** Undefined where the user may not look at all of the cluster. */
export async function memoryCommitment(
  client: KubeClient,
  signal: AbortSignal,
): Promise<MemoryCommitment | undefined> {
  const found = await nodesAndPods(client, signal);
  if (found === undefined) return undefined;
  const shares = found.running.map((pod) => shareOf(pod, undefined, "memory"));
  return {
    promised: sum(shares.map(({ limit, requested }) => limit ?? requested)),
    allocatable: found.allocatable,
  };
}

async function nodesAndPods(
  client: KubeClient,
  signal: AbortSignal,
): Promise<{ running: KubeObject[]; allocatable: number } | undefined> {
  const found = await unless(
    Promise.all([client.list(nodes, undefined, { signal }), client.list(pods, undefined, { signal })]),
    "Forbidden",
  );
  if (found === undefined) return undefined;
  const [allNodes, allPods] = found;
  return {
    running: allPods.items.filter(({ status }) => !["Succeeded", "Failed"].includes(String(status?.phase))),
    allocatable: sum(allNodes.items.map(({ status }) => quantity(status?.allocatable?.memory))),
  };
}

interface Container {
  usage?: Record<string, string>;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

function shareOf(pod: KubeObject, usage: Container[] | undefined, key: "cpu" | "memory"): Share {
  const containers = (pod["spec"]?.containers ?? []) as Container[];
  const limits = containers.map(({ resources }) => resources?.limits?.[key]);
  // What has a limit and no request asks for its limit.
  const requests = containers.map(({ resources }, index) => resources?.requests?.[key] ?? limits[index]);
  return {
    ...(usage === undefined ? {} : { used: sum(usage.map((one) => quantity(one.usage?.[key]))) }),
    requested: sum(requests.map(quantity)),
    ...(limits.every((limit) => limit !== undefined) ? { limit: sum(limits.map(quantity)) } : {}),
  };
}

function quantity(text: string | number | undefined): number {
  return text === undefined ? 0 : parseQuantity(text);
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

async function unless<T>(
  work: Promise<T>,
  ...reasons: Parameters<typeof isApiError>[1][]
): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isApiError(error, ...reasons)) return undefined;
    throw error;
  }
}
