/**
 * Whether a pod fits a node: each filter answers why not, in the words of the upstream scheduler plugin of the same
 * purpose, which people know from `FailedScheduling` events. Pure.
 */
import { selects, type LabelSelector } from "@kws/kube/selector";
import type { Pod } from "../controllers/pods.ts";
import { hostPorts, podRequests, type NodeInfo } from "./node-info.ts";
import { matchesPodTerm, requiredTerms, untolerated, wantsNode, type NamespaceLabels } from "./terms.ts";

export interface Cluster {
  nodes: NodeInfo[];
  labelsOfNamespace: NamespaceLabels;
  /** Why the pod's volumes keep it off the node, if they do. */
  volumeConflict(pod: Pod, node: NodeInfo): string | undefined;
}

/** Reasons against the node; an empty list means that the pod fits. The first failing filter decides. */
export function reasonsAgainst(pod: Pod, info: NodeInfo, cluster: Cluster): string[] {
  for (const filter of filters) {
    const reasons = filter(pod, info, cluster);
    if (reasons.length > 0) return reasons;
  }
  return [];
}

type Filter = (pod: Pod, info: NodeInfo, cluster: Cluster) => string[];

const filters: Filter[] = [
  unschedulable,
  nodeName,
  taints,
  nodeAffinity,
  ports,
  resources,
  (pod, info, cluster) => [cluster.volumeConflict(pod, info)].filter((reason) => reason !== undefined),
  topologySpread,
  podAffinity,
];

function unschedulable(pod: Pod, { node }: NodeInfo): string[] {
  if (node.spec?.unschedulable !== true) return [];
  const cordon = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };
  const tolerated = untolerated(pod, { ...node, spec: { taints: [cordon] } }, ["NoSchedule"]) === undefined;
  return tolerated ? [] : ["node(s) were unschedulable"];
}

function nodeName(pod: Pod, { node }: NodeInfo): string[] {
  const wanted = pod.spec.nodeName;
  return wanted && wanted !== node.metadata.name ? ["node(s) didn't match the requested node name"] : [];
}

function taints(pod: Pod, { node }: NodeInfo): string[] {
  const taint = untolerated(pod, node, ["NoSchedule", "NoExecute"]);
  return taint === undefined ? [] : [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`];
}

function nodeAffinity(pod: Pod, { node }: NodeInfo): string[] {
  return wantsNode(pod, node) ? [] : ["node(s) didn't match Pod's node affinity/selector"];
}

function ports(pod: Pod, info: NodeInfo): string[] {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return [];
  const any = "0.0.0.0";
  const clash = info.pods
    .flatMap(hostPorts)
    .some((taken) =>
      wanted.some(
        ({ port, protocol, address }) =>
          port === taken.port &&
          protocol === taken.protocol &&
          (address === taken.address || address === any || taken.address === any),
      ),
    );
  return clash ? ["node(s) didn't have free ports for the requested pod ports"] : [];
}

function resources(pod: Pod, info: NodeInfo): string[] {
  const reasons: string[] = [];
  const most = info.allocatable.get("pods");
  if (most !== undefined && info.pods.length + 1 > most) reasons.push("Too many pods");
  for (const [name, amount] of podRequests(pod)) {
    if (amount === 0) continue;
    const free = (info.allocatable.get(name) ?? 0) - (info.requested.get(name) ?? 0);
    // A hair of slack: sums of tenths of cores are not exact in floating point.
    if (amount > free + 1e-9) reasons.push(`Insufficient ${name}`);
  }
  return reasons;
}

export interface SpreadConstraint {
  maxSkew: number;
  topologyKey: string;
  whenUnsatisfiable: "DoNotSchedule" | "ScheduleAnyway";
  labelSelector?: LabelSelector;
  matchLabelKeys?: string[];
  minDomains?: number;
  nodeAffinityPolicy?: string;
  nodeTaintsPolicy?: string;
}

export function spreadConstraints(pod: Pod, when: SpreadConstraint["whenUnsatisfiable"]): SpreadConstraint[] {
  const all = (pod.spec["topologySpreadConstraints"] ?? []) as SpreadConstraint[];
  return all.filter((constraint) => constraint.whenUnsatisfiable === when);
}

/** Matching pods per topology value, over the nodes that the constraint counts. */
export function domains(pod: Pod, constraint: SpreadConstraint, cluster: Cluster): Map<string, number> {
  const { topologyKey, nodeAffinityPolicy = "Honor", nodeTaintsPolicy = "Ignore" } = constraint;
  const counts = new Map<string, number>();
  for (const { node, pods } of cluster.nodes) {
    const value = node.metadata.labels?.[topologyKey];
    if (value === undefined) continue;
    if (nodeAffinityPolicy === "Honor" && !wantsNode(pod, node)) continue;
    if (nodeTaintsPolicy === "Honor" && untolerated(pod, node, ["NoSchedule", "NoExecute"]) !== undefined)
      continue;
    const found = pods.filter((other) => isCounted(pod, other, constraint)).length;
    counts.set(value, (counts.get(value) ?? 0) + found);
  }
  return counts;
}

function isCounted(pod: Pod, other: Pod, { labelSelector, matchLabelKeys = [] }: SpreadConstraint): boolean {
  return (
    other.metadata.namespace === pod.metadata.namespace &&
    other.metadata.deletionTimestamp === undefined &&
    selects(labelSelector, other.metadata.labels) &&
    matchLabelKeys.every((key) => other.metadata.labels?.[key] === pod.metadata.labels?.[key])
  );
}

function topologySpread(pod: Pod, { node }: NodeInfo, cluster: Cluster): string[] {
  for (const constraint of spreadConstraints(pod, "DoNotSchedule")) {
    const value = node.metadata.labels?.[constraint.topologyKey];
    if (value === undefined) {
      return ["node(s) didn't match pod topology spread constraints (missing required label)"];
    }
    const counts = domains(pod, constraint, cluster);
    const least = counts.size < (constraint.minDomains ?? 1) ? 0 : Math.min(...counts.values());
    const self = selects(constraint.labelSelector, pod.metadata.labels) ? 1 : 0;
    if ((counts.get(value) ?? 0) + self - least > constraint.maxSkew) {
      return ["node(s) didn't match pod topology spread constraints"];
    }
  }
  return [];
}

function podAffinity(pod: Pod, { node }: NodeInfo, cluster: Cluster): string[] {
  const { nodes, labelsOfNamespace } = cluster;
  const sharing = (topologyKey: string): Pod[] => {
    const value = node.metadata.labels?.[topologyKey];
    if (value === undefined) return [];
    return nodes
      .filter((other) => other.node.metadata.labels?.[topologyKey] === value)
      .flatMap((other) => other.pods);
  };
  for (const other of nodes) {
    for (const neighbour of other.pods) {
      const refuses = requiredTerms(neighbour, "podAntiAffinity").some((term) => {
        const value = node.metadata.labels?.[term.topologyKey];
        const near = value !== undefined && other.node.metadata.labels?.[term.topologyKey] === value;
        return near && matchesPodTerm(term, neighbour, pod, labelsOfNamespace);
      });
      if (refuses) return ["node(s) didn't satisfy existing pods anti-affinity rules"];
    }
  }
  const wanted = requiredTerms(pod, "podAffinity");
  const all = nodes.flatMap((other) => other.pods);
  const matchesAll = (other: Pod): boolean =>
    wanted.every((term) => matchesPodTerm(term, pod, other, labelsOfNamespace));
  for (const term of wanted) {
    const here = sharing(term.topologyKey).some((other) =>
      matchesPodTerm(term, pod, other, labelsOfNamespace),
    );
    if (here) continue;
    // The first of a group that wants to be together has nobody to be with yet.
    const first =
      matchesAll(pod) && !all.some(matchesAll) && node.metadata.labels?.[term.topologyKey] !== undefined;
    if (!first) return ["node(s) didn't match pod affinity rules"];
  }
  for (const term of requiredTerms(pod, "podAntiAffinity")) {
    if (sharing(term.topologyKey).some((other) => matchesPodTerm(term, pod, other, labelsOfNamespace))) {
      return ["node(s) didn't match pod anti-affinity rules"];
    }
  }
  return [];
}

/** `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`, as upstream words and orders it. */
export function fitMessage(reasons: string[][]): string {
  if (reasons.length === 0) return "no nodes available to schedule pods";
  const counts = new Map<string, number>();
  for (const reason of reasons.flat()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${reasons.length} nodes are available: ${parts.join(", ")}.`;
}
