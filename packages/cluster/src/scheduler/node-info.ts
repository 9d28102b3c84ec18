/** What the scheduler knows of a node: its room and the pods on it, those it has just placed there included. */
import type { KubeObject } from "@kws/kube/object";
import { parseQuantity } from "@kws/kube/quantity";
import type { Pod } from "../controllers/pods.ts";

export interface Taint {
  key: string;
  value?: string;
  effect: string;
}

export interface Node extends KubeObject {
  spec?: { unschedulable?: boolean; taints?: Taint[] };
  status?: { allocatable?: Record<string, string>; capacity?: Record<string, string> };
}

/** By resource name: CPU in cores, memory in bytes, others as counted. */
export type Resources = Map<string, number>;

export interface NodeInfo {
  node: Node;
  pods: Pod[];
  allocatable: Resources;
  requested: Resources;
}

export function nodeInfo(node: Node, pods: Pod[]): NodeInfo {
  const requested: Resources = new Map();
  for (const pod of pods) for (const [name, amount] of podRequests(pod)) increase(requested, name, amount);
  const allocatable = toResources(node.status?.allocatable ?? node.status?.capacity ?? {});
  return { node, pods, allocatable, requested };
}

interface Container {
  restartPolicy?: string;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  ports?: { hostPort?: number; hostIP?: string; protocol?: string }[];
}

/**
 * What a pod asks for: the sum of its containers and sidecars, or the largest init container together with the sidecars
 * started before it, whichever is more, plus overhead (k8s.io/component-helpers resource/helpers.go).
 */
export function podRequests(pod: Pod): Resources {
  const total: Resources = new Map();
  for (const container of (pod.spec["containers"] ?? []) as Container[]) addAll(total, requestsOf(container));
  const sidecars: Resources = new Map();
  const initPeak: Resources = new Map();
  for (const container of (pod.spec["initContainers"] ?? []) as Container[]) {
    const requests = requestsOf(container);
    if (container.restartPolicy === "Always") {
      addAll(sidecars, requests);
      addAll(total, requests);
      raiseTo(initPeak, sidecars);
    } else {
      const together = new Map(sidecars);
      addAll(together, requests);
      raiseTo(initPeak, together);
    }
  }
  raiseTo(total, initPeak);
  const podLevel = toResources(pod.spec["resources"]?.requests ?? {});
  for (const [name, amount] of podLevel) total.set(name, amount);
  addAll(total, toResources((pod.spec["overhead"] ?? {}) as Record<string, string>));
  return total;
}

function requestsOf({ resources }: Container): Resources {
  // Where only a limit is given the API server's defaults make it the request; custom callers may not have been defaulted.
  return toResources({ ...resources?.limits, ...resources?.requests });
}

function toResources(quantities: Record<string, string>): Resources {
  return new Map(Object.entries(quantities).map(([name, text]) => [name, parseQuantity(text)]));
}

function addAll(to: Resources, from: Resources): void {
  for (const [name, amount] of from) increase(to, name, amount);
}

function increase(to: Resources, name: string, amount: number): void {
  to.set(name, (to.get(name) ?? 0) + amount);
}

function raiseTo(to: Resources, from: Resources): void {
  for (const [name, amount] of from) to.set(name, Math.max(to.get(name) ?? 0, amount));
}

export interface HostPort {
  port: number;
  protocol: string;
  address: string;
}

export function hostPorts(pod: Pod): HostPort[] {
  return ((pod.spec["containers"] ?? []) as Container[]).flatMap(({ ports = [] }) =>
    ports
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map(({ hostPort = 0, protocol = "TCP", hostIP }) => ({
        port: hostPort,
        protocol,
        address: hostIP === undefined || hostIP === "" ? "0.0.0.0" : hostIP,
      })),
  );
}
