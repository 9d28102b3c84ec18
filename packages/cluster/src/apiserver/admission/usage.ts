/**
 * What an object counts for in a ResourceQuota, by the names that quotas use. The quota controller reports with the same
 * numbers. From https://kubernetes.io/docs/concepts/policy/resource-quotas/.
 */
import { addQuantities, compareQuantities, isQuantity } from "@kws/kube/quantity";
import type { KubeObject } from "@kws/kube/object";
import { list } from "../resources/loose.ts";
import { qosClassOf } from "../resources/pod-qos.ts";
import type { Fields } from "../resources/resource.ts";
import { usesNodePorts } from "../resources/service.ts";

/** Resource name, as in `spec.hard`, to quantity. */
export type Usage = Record<string, string>;

interface Kind {
  group: string;
  resource: string;
}

/** Kinds that quotas may also count by their plain name. */
const plainlyCounted = new Set([
  "configmaps",
  "persistentvolumeclaims",
  "pods",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "services",
]);

export function usageOf({ group, resource }: Kind, object: KubeObject): Usage {
  const usage: Usage = { [`count/${resource}${group === "" ? "" : `.${group}`}`]: "1" };
  if (group !== "") return usage;
  if (resource === "pods" && isFinished(object)) return usage;
  if (plainlyCounted.has(resource)) usage[resource] = "1";
  if (resource === "pods") addPod(usage, object["spec"] ?? {});
  if (resource === "services") addService(usage, object["spec"] ?? {});
  if (resource === "persistentvolumeclaims") addClaim(usage, object);
  return usage;
}

function isFinished(pod: KubeObject): boolean {
  const { phase } = pod["status"] ?? {};
  if (phase === "Succeeded" || phase === "Failed") return true;
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = pod.metadata;
  if (deletionTimestamp === undefined) return false;
  return Date.now() > Date.parse(deletionTimestamp) + deletionGracePeriodSeconds * 1000;
}

function addPod(usage: Usage, spec: Fields): void {
  for (const field of ["requests", "limits"] as const) {
    for (const [name, value] of Object.entries(podResources(spec, field))) {
      usage[`${field}.${name}`] = value;
      if (field === "requests" && ["cpu", "memory", "ephemeral-storage"].includes(name)) usage[name] = value;
    }
  }
}

/** The sum of the containers and sidecars, or the largest init container where that is more, plus overhead. */
export function podResources(spec: Fields, field: "requests" | "limits"): Usage {
  const total: Usage = {};
  const sidecars: Usage = {};
  const peak: Usage = {};
  const amounts = (container: Fields): [string, string][] =>
    Object.entries((container["resources"]?.[field] ?? {}) as Fields).flatMap(([name, value]) =>
      isQuantity(value) ? [[name, String(value)]] : [],
    );
  const add = (into: Usage, name: string, value: string) => {
    into[name] = addQuantities(into[name] ?? "0", value);
  };
  for (const container of list(spec["containers"])) {
    for (const [name, value] of amounts(container)) add(total, name, value);
  }
  for (const container of list(spec["initContainers"])) {
    const sidecar = container["restartPolicy"] === "Always";
    for (const [name, value] of amounts(container)) {
      if (sidecar) add(sidecars, name, value);
      const needed = sidecar ? (sidecars[name] ?? "0") : addQuantities(sidecars[name] ?? "0", value);
      if (compareQuantities(needed, peak[name] ?? "0") > 0) peak[name] = needed;
    }
  }
  for (const [name, value] of Object.entries(sidecars)) add(total, name, value);
  for (const [name, value] of Object.entries(peak)) {
    if (compareQuantities(value, total[name] ?? "0") > 0) total[name] = value;
  }
  for (const [name, value] of Object.entries((spec["overhead"] ?? {}) as Fields)) {
    if (isQuantity(value) && (field === "requests" || total[name] !== undefined))
      add(total, name, String(value));
  }
  return total;
}

function addService(usage: Usage, spec: Fields): void {
  usage["services.nodeports"] = usesNodePorts(spec) ? String(list(spec["ports"]).length) : "0";
  usage["services.loadbalancers"] = spec["type"] === "LoadBalancer" ? "1" : "0";
}

function addClaim(usage: Usage, claim: KubeObject): void {
  const storage = claim["spec"]?.resources?.requests?.storage;
  const className =
    claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ??
    claim["spec"]?.storageClassName;
  if (isQuantity(storage)) usage["requests.storage"] = String(storage);
  if (!className) return;
  const prefix = `${className}.storageclass.storage.k8s.io`;
  usage[`${prefix}/persistentvolumeclaims`] = "1";
  if (isQuantity(storage)) usage[`${prefix}/requests.storage`] = String(storage);
}

/** Quotas with scopes count only pods that match all of them. */
export function inScope(quota: KubeObject, { group, resource }: Kind, object: KubeObject): boolean {
  const scopes: string[] = quota["spec"]?.scopes ?? [];
  const expressions = [
    ...scopes.map((scopeName): Fields => ({ scopeName, operator: "Exists" })),
    ...list(quota["spec"]?.scopeSelector?.matchExpressions),
  ];
  if (expressions.length === 0) return true;
  if (group !== "" || resource !== "pods") return false;
  return expressions.every((expression) => matchesScope(expression, object["spec"] ?? {}));
}

function matchesScope({ scopeName, operator, values = [] }: Fields, spec: Fields): boolean {
  const deadline = Number(spec["activeDeadlineSeconds"] ?? -1);
  switch (scopeName) {
    case "Terminating":
      return deadline >= 0;
    case "NotTerminating":
      return deadline < 0;
    case "BestEffort":
      return qosClassOf(spec) === "BestEffort";
    case "NotBestEffort":
      return qosClassOf(spec) !== "BestEffort";
    case "PriorityClass": {
      const name: string = spec["priorityClassName"] ?? "";
      if (operator === "Exists") return name !== "";
      if (operator === "DoesNotExist") return name === "";
      return operator === "In" ? values.includes(name) : !values.includes(name);
    }
    case "CrossNamespacePodAffinity":
      return ["podAffinity", "podAntiAffinity"].some((kind) => crossesNamespaces(spec["affinity"]?.[kind]));
    default:
      return false;
  }
}

function crossesNamespaces(affinity: Fields | undefined | null): boolean {
  const terms = [
    ...list(affinity?.["requiredDuringSchedulingIgnoredDuringExecution"]),
    ...list(affinity?.["preferredDuringSchedulingIgnoredDuringExecution"]).map(
      (one): Fields => one["podAffinityTerm"] ?? {},
    ),
  ];
  return terms.some((term) => Boolean(term["namespaces"]?.length || term["namespaceSelector"]));
}

const compute = /^(?:(?<field>requests|limits)\.)?(?<name>cpu|memory)$/;

/** Compute resources that a quota limits and containers of the pod do not mention. */
export function constrainedComputeNames(
  hard: Record<string, string>,
  pod: KubeObject,
): { name: string; containers: string[] }[] {
  const containers = [...list(pod["spec"]?.initContainers), ...list(pod["spec"]?.containers)];
  return Object.keys(hard)
    .sort()
    .flatMap((name) => {
      const groups = compute.exec(name)?.groups;
      if (groups === undefined) return [];
      const field = groups["field"] ?? "requests";
      const without = containers.filter(
        (container) => container["resources"]?.[field]?.[groups["name"] ?? ""] === undefined,
      );
      return without.length === 0
        ? []
        : [{ name, containers: without.map((container) => String(container["name"])) }];
    });
}
