/** Counts for PodDisruptionBudgets how many pods may be evicted now (https://kubernetes.io/docs/tasks/run-application/configure-pdb/). */
import { controllerOf, keyOf, type KubeObject } from "@kws/kube/object";
import {
  deployments,
  podDisruptionBudgets,
  pods as podResource,
  replicaSets,
  replicationControllers,
  statefulSets,
} from "@kws/kube/resources";
import { selects, type LabelSelector } from "@kws/kube/selector";
import { withCondition, type Condition } from "./conditions.ts";
import { timestamp, watch, type Controller, type ControllerContext } from "./context.ts";
import { isFinished, isReady, type Pod } from "./pods.ts";
import { absolute } from "./rollout.ts";

interface Budget extends KubeObject {
  spec: { minAvailable?: number | string; maxUnavailable?: number | string; selector?: LabelSelector };
  status?: { disruptedPods?: Record<string, string>; conditions?: Condition[] };
}

/** An eviction that was granted counts for so long even while its pod still looks healthy. */
const evictionMs = 120_000;

export function disruptionController(ctx: ControllerContext): Controller {
  const budgets = ctx.resource<Budget>(podDisruptionBudgets);
  const pods = ctx.resource<Pod>(podResource);
  const owners = {
    ReplicaSet: ctx.resource(replicaSets),
    StatefulSet: ctx.resource(statefulSets),
    ReplicationController: ctx.resource(replicationControllers),
    Deployment: ctx.resource(deployments),
  };

  return {
    name: "disruption-controller",
    watches: [
      watch(budgets),
      watch(
        pods,
        (pod) =>
          budgets
            .list(pod.metadata.namespace)
            .filter((budget) => selects(budget.spec.selector, pod.metadata.labels))
            .map(keyOf),
        (pod, old) =>
          isReady(pod) !== isReady(old) ||
          isFinished(pod) !== isFinished(old) ||
          pod.metadata.deletionTimestamp !== old.metadata.deletionTimestamp ||
          pod.metadata.labels !== old.metadata.labels,
      ),
    ],
    async reconcile({ namespace, name }) {
      const budget = budgets.get(name, namespace);
      if (budget === undefined) return;
      const now = ctx.now();
      const selected = pods
        .list(namespace)
        .filter((pod) => selects(budget.spec.selector, pod.metadata.labels) && !isFinished(pod));
      const disrupted = Object.entries(budget.status?.disruptedPods ?? {}).filter(([podName, since]) => {
        const pod = pods.get(podName, namespace);
        return (
          pod?.metadata.deletionTimestamp === undefined &&
          pod !== undefined &&
          Date.parse(since) + evictionMs > now
        );
      });
      const disruptedNames = new Set(disrupted.map(([podName]) => podName));
      const healthy = selected.filter(
        (pod) =>
          isReady(pod) &&
          pod.metadata.deletionTimestamp === undefined &&
          !disruptedNames.has(pod.metadata.name),
      ).length;
      const { expected, desired } = wantedHealthy(budget, selected);
      const allowed = Math.max(0, expected === 0 ? 0 : healthy - desired);
      const condition: Condition = {
        type: "DisruptionAllowed",
        status: allowed > 0 ? "True" : "False",
        reason: allowed > 0 ? "SufficientPods" : "InsufficientPods",
        message: "",
      };
      await budgets.updateStatus(budget, {
        observedGeneration: budget.metadata.generation,
        ...(disrupted.length === 0 ? {} : { disruptedPods: Object.fromEntries(disrupted) }),
        disruptionsAllowed: allowed,
        currentHealthy: healthy,
        desiredHealthy: desired,
        expectedPods: expected,
        conditions: withCondition(budget.status?.conditions, condition, now).map((item) => ({
          ...item,
          lastTransitionTime: item.lastTransitionTime ?? timestamp(now),
        })),
      });
      return disrupted.length === 0 ? {} : { requeueAfter: evictionMs };
    },
  };

  function wantedHealthy(budget: Budget, selected: Pod[]): { expected: number; desired: number } {
    const { minAvailable, maxUnavailable } = budget.spec;
    if (maxUnavailable !== undefined) {
      const expected = expectedPods(selected);
      return { expected, desired: Math.max(0, expected - absolute(maxUnavailable, expected, "up")) };
    }
    if (typeof minAvailable === "string") {
      const expected = expectedPods(selected);
      return { expected, desired: absolute(minAvailable, expected, "up") };
    }
    return { expected: selected.length, desired: minAvailable ?? 0 };
  }

  /** What the owners of the pods ask for, each owner once; a pod without one counts as itself. */
  function expectedPods(selected: Pod[]): number {
    const scales = new Map<string, number>();
    for (const pod of selected) {
      const owner = topOwner(pod);
      scales.set(owner.metadata.uid ?? "", owner === pod ? 1 : Number(owner["spec"]?.replicas ?? 1));
    }
    return [...scales.values()].reduce((sum, scale) => sum + scale, 0);
  }

  function topOwner(object: KubeObject): KubeObject {
    const reference = controllerOf(object);
    if (reference === undefined || !(reference.kind in owners)) return object;
    const owner = owners[reference.kind as keyof typeof owners].get(
      reference.name,
      object.metadata.namespace,
    );
    return owner === undefined ? object : topOwner(owner);
  }
}
