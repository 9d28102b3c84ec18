/** Fills ClusterRoles that are the union of others, such as `admin`, `edit` and `view`. */
import { isSame } from "@kws/kube/cached";
import { keyOf, type KubeObject } from "@kws/kube/object";
import { clusterRoles } from "@kws/kube/resources";
import { selects, type LabelSelector } from "@kws/kube/selector";
import { watch, type Controller, type ControllerContext } from "./context.ts";

interface ClusterRole extends KubeObject {
  rules?: object[] | null;
  aggregationRule?: { clusterRoleSelectors?: LabelSelector[] };
}

export function clusterRoleAggregationController(ctx: ControllerContext): Controller {
  const roles = ctx.resource<ClusterRole>(clusterRoles);
  const aggregates = (): string[] =>
    roles
      .list()
      .filter((role) => role.aggregationRule !== undefined)
      .map(keyOf);
  return {
    name: "clusterrole-aggregation-controller",
    watches: [watch(roles, aggregates)],
    concurrency: 1,
    async reconcile({ name }) {
      const role = roles.get(name);
      if (role?.aggregationRule === undefined) return;
      const rules: object[] = [];
      const parts = (role.aggregationRule.clusterRoleSelectors ?? []).flatMap((selector) =>
        roles
          .list()
          .filter((other) => other.metadata.name !== name && selects(selector, other.metadata.labels))
          .sort((a, b) => a.metadata.name.localeCompare(b.metadata.name)),
      );
      for (const rule of parts.flatMap((part) => part.rules ?? [])) {
        if (!rules.some((present) => isSame(present, rule))) rules.push(rule);
      }
      if (!isSame(role.rules ?? [], rules)) await roles.update({ ...role, rules });
    },
  };
}
