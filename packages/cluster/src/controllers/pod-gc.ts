/** Removes pods of nodes that no longer exist, which no kubelet would ever remove. */
import { keyOf } from "@kws/kube/object";
import { nodes as nodeResource, pods as podResource } from "@kws/kube/resources";
import { watch, type Controller, type ControllerContext } from "./context.ts";
import { conditionOf } from "./conditions.ts";
import { isFinished, type Pod } from "./pods.ts";

/** A node may come back under its name, such as when it registers anew. */
const quarantineMs = 40_000;

export function podGcController(ctx: ControllerContext): Controller {
  const pods = ctx.resource<Pod>(podResource);
  const nodes = ctx.resource(nodeResource);
  const missingSince = new Map<string, number>();
  return {
    name: "pod-garbage-collector",
    watches: [
      watch(
        nodes,
        (node) =>
          pods
            .list()
            .filter((pod) => pod.spec.nodeName === node.metadata.name)
            .map(keyOf),
        () => false,
      ),
      watch(
        pods,
        undefined,
        (pod, old) =>
          pod.spec.nodeName !== old.spec.nodeName ||
          pod.metadata.deletionTimestamp !== old.metadata.deletionTimestamp,
      ),
    ],
    async reconcile({ namespace, name }) {
      const pod = pods.get(name, namespace);
      if (pod === undefined) return;
      const { nodeName } = pod.spec;
      if (!nodeName) {
        // Never started anywhere: nobody else would complete its deletion.
        if (pod.metadata.deletionTimestamp === undefined) return;
        // Failed, so that a Job that tracks it counts it and lets it go.
        if (!isFinished(pod))
          await pods.patch(pod, "merge", { status: { phase: "Failed" } }, { subresource: "status" });
        await pods.delete(pod, { gracePeriodSeconds: 0 });
        return;
      }
      if (nodes.get(nodeName) !== undefined) {
        missingSince.delete(nodeName);
        return;
      }
      const since = missingSince.get(nodeName) ?? ctx.now();
      missingSince.set(nodeName, since);
      const left = since + quarantineMs - ctx.now();
      if (left > 0) return { requeueAfter: left };
      if ((await ctx.client.find(nodeResource, nodeName)) !== undefined) return;
      if (!isFinished(pod) && conditionOf(pod.status?.conditions, "DisruptionTarget") === undefined) {
        const condition = {
          type: "DisruptionTarget",
          status: "True",
          reason: "DeletionByPodGC",
          message: "PodGC: node no longer exists",
          lastTransitionTime: new Date(ctx.now()).toISOString().replace(/\.\d+Z$/, "Z"),
        };
        const conditions = [...(pod.status?.conditions ?? []), condition];
        await pods.patch(
          pod,
          "merge",
          { status: { phase: "Failed", conditions } },
          { subresource: "status" },
        );
      }
      await pods.delete(pod, { gracePeriodSeconds: 0 });
      return;
    },
  };
}
