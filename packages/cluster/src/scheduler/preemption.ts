/**
 * Making room for a pod by ending less important ones
 * (https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#preemption). Pure: chooses the node and its victims.
 */
import { selects, type LabelSelector } from "@kws/kube/selector";
import type { KubeObject } from "@kws/kube/object";
import type { Pod } from "../controllers/pods.ts";
import { reasonsAgainst, type Cluster } from "./filters.ts";
import { nodeInfo, type NodeInfo } from "./node-info.ts";

export interface Preemption {
  nodeName: string;
  victims: Pod[];
}

export function priorityOf(pod: Pod): number {
  return Number(pod.spec["priority"] ?? 0);
}

/**
 * The node where the least is lost: fewest broken budgets, then the lowest of the highest priorities of its victims, then fewest
 * victims. Undefined where ending pods of lower priority makes no room.
 */
export function findPreemption(pod: Pod, cluster: Cluster, budgets: KubeObject[]): Preemption | undefined {
  if (pod.spec["preemptionPolicy"] === "Never") return undefined;
  const candidates = cluster.nodes.flatMap((info) => {
    const found = victimsOn(pod, info, cluster, budgets);
    return found === undefined ? [] : [{ nodeName: info.node.metadata.name, ...found }];
  });
  const [best] = candidates.sort(
    (a, b) =>
      a.violations - b.violations ||
      highest(a.victims) - highest(b.victims) ||
      a.victims.length - b.victims.length,
  );
  return best;
}

function highest(pods: Pod[]): number {
  return Math.max(...pods.map(priorityOf));
}

/** All less important pods go, then as many as can come back, the most important and best protected ones first. */
function victimsOn(
  pod: Pod,
  info: NodeInfo,
  cluster: Cluster,
  budgets: KubeObject[],
): { victims: Pod[]; violations: number } | undefined {
  const lower = info.pods.filter((other) => priorityOf(other) < priorityOf(pod));
  if (lower.length === 0) return undefined;
  const fitsWith = (kept: Pod[]): boolean => {
    const changed = nodeInfo(info.node, kept);
    const nodes = cluster.nodes.map((one) => (one === info ? changed : one));
    return reasonsAgainst(pod, changed, { ...cluster, nodes }).length === 0;
  };
  const kept = info.pods.filter((other) => !lower.includes(other));
  if (!fitsWith(kept)) return undefined;
  const isProtected = protection(budgets);
  const order = lower
    .map((one) => ({ one, isProtected: isProtected(one) }))
    .sort((a, b) => Number(b.isProtected) - Number(a.isProtected) || priorityOf(b.one) - priorityOf(a.one));
  const victims: Pod[] = [];
  let violations = 0;
  for (const { one, isProtected } of order) {
    if (fitsWith([...kept, one])) {
      kept.push(one);
    } else {
      victims.push(one);
      if (isProtected) violations++;
    }
  }
  return { victims, violations };
}

/** Whether ending a pod breaks a budget, when those asked about before have ended too. */
function protection(budgets: KubeObject[]): (pod: Pod) => boolean {
  const left = new Map(budgets.map((budget) => [budget, Number(budget.status?.disruptionsAllowed ?? 0)]));
  return (pod) => {
    const covering = budgets.filter(
      (budget) =>
        budget.metadata.namespace === pod.metadata.namespace &&
        selects(budget.spec?.selector as LabelSelector | undefined, pod.metadata.labels),
    );
    for (const budget of covering) left.set(budget, (left.get(budget) ?? 0) - 1);
    return covering.some((budget) => (left.get(budget) ?? 0) < 0);
  };
}
