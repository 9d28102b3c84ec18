/** Keeps the `used` of ResourceQuotas true; refusing what exceeds them is admission's, with the same arithmetic. */
import type { CachedResource } from "@kws/kube/cached";
import type { Resource } from "@kws/kube/client";
import { keyOf, type KubeObject } from "@kws/kube/object";
import { addQuantities } from "@kws/kube/quantity";
import * as resources from "@kws/kube/resources";
import { inScope, usageOf } from "../apiserver/admission/usage.ts";
import { watch, type Controller, type ControllerContext } from "./context.ts";

/** What quotas can count here; each of these is in the shared copies anyway. */
const counted: Resource[] = [
  resources.pods,
  resources.services,
  resources.configMaps,
  resources.secrets,
  resources.persistentVolumeClaims,
  resources.replicationControllers,
  resources.resourceQuotas,
  resources.deployments,
  resources.replicaSets,
  resources.statefulSets,
  resources.jobs,
  resources.cronJobs,
];

export function resourceQuotaController(ctx: ControllerContext): Controller {
  const quotas = ctx.resource(resources.resourceQuotas);
  const all = counted.map((resource) => ctx.resource(resource));
  const quotasOf = ({ metadata }: KubeObject): string[] => quotas.list(metadata.namespace).map(keyOf);
  return {
    name: "resourcequota-controller",
    watches: all.map((cached) =>
      cached.resource.resource === "resourcequotas"
        ? watch(cached, quotasOf, (quota, old) => quota.metadata.generation !== old.metadata.generation)
        : watch(cached, quotasOf),
    ),
    async reconcile({ namespace, name }) {
      const quota = quotas.get(name, namespace);
      if (quota === undefined || quota.metadata.deletionTimestamp !== undefined) return;
      const hard = (quota["spec"]?.hard ?? {}) as Record<string, string>;
      await quotas.updateStatus(quota, { hard, used: usedOf(quota, hard, all) });
    },
  };
}

function usedOf(
  quota: KubeObject,
  hard: Record<string, string>,
  all: CachedResource[],
): Record<string, string> {
  const used = Object.fromEntries(Object.keys(hard).map((name) => [name, "0"]));
  for (const cached of all) {
    for (const object of cached.list(quota.metadata.namespace)) {
      if (!inScope(quota, cached.resource, object)) continue;
      for (const [name, amount] of Object.entries(usageOf(cached.resource, object))) {
        if (used[name] !== undefined) used[name] = addQuantities(used[name], amount);
      }
    }
  }
  return used;
}
