/**
 * Which of the fitting nodes is best: the weighted sum of upstream's default scoring plugins, each 0 to 100. Pure.
 */
import type { Pod } from "../controllers/pods.ts";
import { domains, spreadConstraints, type Cluster } from "./filters.ts";
import { podRequests, type NodeInfo } from "./node-info.ts";
import {
  matchesNodeTerm,
  matchesPodTerm,
  preferredTerms,
  untolerated,
  type NodeSelectorTerm,
} from "./terms.ts";

interface Score {
  weight: number;
  /** One raw value per node, the higher the better. */
  of(pod: Pod, nodes: NodeInfo[], cluster: Cluster): number[];
  /** Spread to 0…100 over the candidates; otherwise it is that already. */
  normalize: boolean;
}

/** Weights of the default profile. */
const scores: Score[] = [
  { weight: 1, of: leastAllocated, normalize: false },
  { weight: 1, of: balanced, normalize: false },
  { weight: 3, of: fewestTaints, normalize: true },
  { weight: 2, of: preferredNodes, normalize: true },
  { weight: 2, of: preferredPods, normalize: true },
  { weight: 2, of: spread, normalize: true },
];

/** The candidates, the best first; equals in the order given. */
export function rank(pod: Pod, candidates: NodeInfo[], cluster: Cluster): NodeInfo[] {
  if (candidates.length < 2) return candidates;
  const totals = candidates.map(() => 0);
  for (const { weight, of, normalize } of scores) {
    const raw = of(pod, candidates, cluster);
    for (const [index, value] of (normalize ? normalized(raw) : raw).entries()) {
      totals[index] = (totals[index] ?? 0) + weight * value;
    }
  }
  return candidates
    .map((info, index) => ({ info, total: totals[index] ?? 0 }))
    .sort((a, b) => b.total - a.total)
    .map(({ info }) => info);
}

function normalized(raw: number[]): number[] {
  const low = Math.min(...raw);
  const range = Math.max(...raw) - low;
  return raw.map((value) => (range === 0 ? 0 : ((value - low) * 100) / range));
}

const scored = ["cpu", "memory"];
/** What a container without requests counts as when nodes are compared (non-zero requests upstream). */
const assumed: Record<string, number> = { cpu: 0.1, memory: 200 * 1024 * 1024 };

function usage(pod: Pod, info: NodeInfo): number[] {
  const requests = podRequests(pod);
  return scored
    .filter((name) => (info.allocatable.get(name) ?? 0) > 0)
    .map((name) => {
      const asked = (requests.get(name) ?? assumed[name] ?? 0) + (info.requested.get(name) ?? 0);
      return Math.min(1, asked / (info.allocatable.get(name) ?? 1));
    });
}

function leastAllocated(pod: Pod, nodes: NodeInfo[]): number[] {
  return nodes.map((info) => {
    const used = usage(pod, info);
    return used.length === 0 ? 0 : (used.reduce((sum, share) => sum + (1 - share), 0) / used.length) * 100;
  });
}

function balanced(pod: Pod, nodes: NodeInfo[]): number[] {
  return nodes.map((info) => {
    const [cpu = 0, memory = cpu] = usage(pod, info);
    return (1 - Math.abs(cpu - memory) / 2) * 100;
  });
}

function fewestTaints(pod: Pod, nodes: NodeInfo[]): number[] {
  return nodes.map(({ node }) => {
    const soft = (node.spec?.taints ?? []).filter(({ effect }) => effect === "PreferNoSchedule");
    return -soft.filter(
      (taint) => untolerated(pod, { ...node, spec: { taints: [taint] } }, ["PreferNoSchedule"]) !== undefined,
    ).length;
  });
}

function preferredNodes(pod: Pod, nodes: NodeInfo[]): number[] {
  const terms = (pod.spec["affinity"]?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ??
    []) as {
    weight: number;
    preference: NodeSelectorTerm;
  }[];
  return nodes.map(({ node }) =>
    terms.reduce((sum, { weight, preference }) => sum + (matchesNodeTerm(preference, node) ? weight : 0), 0),
  );
}

function preferredPods(pod: Pod, nodes: NodeInfo[], cluster: Cluster): number[] {
  const terms = [
    ...preferredTerms(pod, "podAffinity"),
    ...preferredTerms(pod, "podAntiAffinity").map((term) => ({ ...term, weight: -term.weight })),
  ];
  return nodes.map(({ node }) =>
    terms.reduce((sum, { weight, podAffinityTerm: term }) => {
      const value = node.metadata.labels?.[term.topologyKey];
      if (value === undefined) return sum;
      const near = cluster.nodes.filter((other) => other.node.metadata.labels?.[term.topologyKey] === value);
      const count = near
        .flatMap((other) => other.pods)
        .filter((other) => matchesPodTerm(term, pod, other, cluster.labelsOfNamespace)).length;
      return sum + weight * count;
    }, 0),
  );
}

/** Soft topology constraints; without any, pods of one owner keep apart. */
function spread(pod: Pod, nodes: NodeInfo[], cluster: Cluster): number[] {
  const constraints = spreadConstraints(pod, "ScheduleAnyway");
  if (constraints.length === 0) {
    const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller)?.uid;
    const isSibling = (other: Pod): boolean =>
      owner !== undefined && (other.metadata.ownerReferences ?? []).some(({ uid }) => uid === owner);
    return nodes.map((info) => -info.pods.filter(isSibling).length);
  }
  const totals = nodes.map(() => 0);
  for (const constraint of constraints) {
    const counts = domains(pod, constraint, cluster);
    for (const [index, { node }] of nodes.entries()) {
      const value = node.metadata.labels?.[constraint.topologyKey];
      const count = value === undefined ? Number(counts.size) + 1 : (counts.get(value) ?? 0);
      totals[index] = (totals[index] ?? 0) - count;
    }
  }
  return totals;
}
