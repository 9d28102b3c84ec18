/** ResourceQuota: a create or a growth that would exceed a quota of its namespace is refused. */
import { compareQuantities, addQuantities, subtractQuantities } from "@kws/kube/quantity";
import type { KubeObject } from "@kws/kube/object";
import { resourceQuotas } from "@kws/kube/resources";
import type { AdmissionContext } from "./context.ts";
import { refuse } from "./failures.ts";
import { constrainedComputeNames, inScope, usageOf, type Usage } from "./usage.ts";

export function enforceQuota(context: AdmissionContext): void {
  const { definition, object, old, operation, subresource } = context;
  if (operation === "DELETE" || subresource || object === undefined || !definition.namespaced) return;
  const { namespace } = object.metadata;
  const quotas = context.list(resourceQuotas, namespace);
  if (quotas.length === 0) return;
  const wanted = usageOf(definition, object);
  const before = old === undefined ? {} : usageOf(definition, old);
  let others: readonly KubeObject[] | undefined;
  for (const quota of quotas) {
    if (!inScope(quota, definition, object)) continue;
    const hard: Record<string, string> = quota["spec"]?.hard ?? {};
    if (operation === "CREATE") checkSpecified(context, quota, hard, object);
    const grown = Object.keys(hard).filter(
      (name) => wanted[name] !== undefined && compareQuantities(wanted[name], before[name] ?? "0") > 0,
    );
    if (grown.length === 0) continue;
    others ??= context
      .list(definition, namespace)
      .filter(({ metadata }) => metadata.name !== object.metadata.name);
    const used = sum(
      others.filter((other) => inScope(quota, definition, other)).map((other) => usageOf(definition, other)),
    );
    const current = sum([used, inScopeOld(quota, context) ? before : {}]);
    const requested = (name: string) => subtractQuantities(wanted[name] ?? "0", before[name] ?? "0");
    const exceeded = grown
      .filter(
        (name) =>
          compareQuantities(addQuantities(current[name] ?? "0", requested(name)), hard[name] ?? "0") > 0,
      )
      .sort();
    if (exceeded.length === 0) continue;
    const show = (value: (name: string) => string) =>
      exceeded.map((name) => `${name}=${value(name)}`).join(",");
    throw refuse(
      context,
      `exceeded quota: ${quota.metadata.name}, requested: ${show(requested)}, used: ${show((name) => current[name] ?? "0")}, limited: ${show((name) => hard[name] ?? "0")}`,
    );
  }
}

function inScopeOld(quota: KubeObject, { definition, old }: AdmissionContext): boolean {
  return old !== undefined && inScope(quota, definition, old);
}

function sum(usages: Usage[]): Usage {
  const total: Usage = {};
  for (const usage of usages) {
    for (const [name, value] of Object.entries(usage)) {
      total[name] = total[name] === undefined ? value : addQuantities(total[name], value);
    }
  }
  return total;
}

/** A pod in a namespace whose quota counts a compute resource must say how much of it every container wants. */
function checkSpecified(
  context: AdmissionContext,
  quota: KubeObject,
  hard: Record<string, string>,
  object: KubeObject,
): void {
  const { definition } = context;
  if (definition.group !== "" || definition.resource !== "pods") return;
  const missing = constrainedComputeNames(hard, object);
  if (missing.length === 0) return;
  const texts = missing.map(({ name, containers }) => `${name} for: ${containers.join(",")}`);
  throw refuse(context, `failed quota: ${quota.metadata.name}: must specify ${texts.join("; ")}`);
}
