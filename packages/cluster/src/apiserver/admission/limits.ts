/** LimitRanger: default requests and limits of containers, and bounds for containers, pods and claims. */
import { addQuantities, compareQuantities, isQuantity, parseQuantity } from "@kws/kube/quantity";
import type { Resource } from "@kws/kube/client";
import { list } from "../resources/loose.ts";
import type { Fields } from "../resources/resource.ts";
import type { AdmissionContext } from "./context.ts";
import { isKind, refuse } from "./failures.ts";

const limitRanges: Resource = { group: "", version: "v1", resource: "limitranges", namespaced: true };

export function applyLimitRanges(context: AdmissionContext): void {
  const { object, operation, subresource } = context;
  if (operation === "DELETE" || subresource || object === undefined) return;
  const isPod = isKind(context, "", "pods");
  const isClaim = isKind(context, "", "persistentvolumeclaims");
  if (!(isPod && operation === "CREATE") && !isClaim) return;
  const ranges = context.list(limitRanges, object.metadata.namespace);
  const limits = ranges.flatMap((range) => list(range["spec"]?.limits));
  if (limits.length === 0) return;
  const problems: string[] = [];
  if (isPod) {
    const changes = limits
      .filter(({ type }) => type === "Container")
      .flatMap((limit) => fillIn(object["spec"], limit));
    if (changes.length > 0) {
      object.metadata.annotations = {
        ...object.metadata.annotations,
        "kubernetes.io/limit-ranger": `LimitRanger plugin set: ${changes.join("; ")}`,
      };
    }
    for (const limit of limits) problems.push(...checkPod(object["spec"], limit));
  } else {
    const requests: Fields = object["spec"]?.resources?.requests ?? {};
    for (const limit of limits.filter(({ type }) => type === "PersistentVolumeClaim")) {
      problems.push(...check(limit, { requests, limits: {} }));
    }
  }
  if (problems.length === 0) return;
  throw refuse(context, problems.length === 1 ? (problems[0] ?? "") : `[${problems.join(", ")}]`);
}

/** Sets what is absent; returns a description of each change. */
function fillIn(spec: Fields, limit: Fields): string[] {
  return (["initContainers", "containers"] as const).flatMap((role) =>
    list(spec[role]).flatMap((container) => {
      const resources: Fields = (container["resources"] ??= {});
      return (
        [
          ["requests", "defaultRequest", "request"],
          ["limits", "default", "limit"],
        ] as const
      ).flatMap(([field, source, word]) => {
        const set = Object.entries(limit[source] ?? {}).filter(
          ([name]) => resources[field]?.[name] === undefined,
        );
        for (const [name, value] of set) {
          resources[field] ??= {};
          resources[field][name] = value;
        }
        const label = role === "containers" ? "container" : "init container";
        const names = set.map(([name]) => name).sort();
        return set.length === 0 ? [] : [`${names.join(", ")} ${word} for ${label} ${container["name"]}`];
      });
    }),
  );
}

interface Amounts {
  requests: Fields;
  limits: Fields;
}

function checkPod(spec: Fields, limit: Fields): string[] {
  const containers = [...list(spec["containers"]), ...list(spec["initContainers"])];
  const amounts = (container: Fields): Amounts => ({
    requests: container["resources"]?.requests ?? {},
    limits: container["resources"]?.limits ?? {},
  });
  if (limit["type"] === "Container")
    return containers.flatMap((container) => check(limit, amounts(container)));
  if (limit["type"] !== "Pod") return [];
  return check(limit, sumOf(list(spec["containers"]).map(amounts)));
}

function sumOf(all: Amounts[]): Amounts {
  const total: Amounts = { requests: {}, limits: {} };
  for (const amounts of all) {
    for (const field of ["requests", "limits"] as const) {
      for (const [name, value] of Object.entries(amounts[field])) {
        if (isQuantity(value)) total[field][name] = addQuantities(total[field][name] ?? "0", value);
      }
    }
  }
  return total;
}

function check(limit: Fields, { requests, limits }: Amounts): string[] {
  const type = String(limit["type"]);
  const problems: string[] = [];
  for (const [name, bound] of Object.entries(limit["min"] ?? {}) as [string, string][]) {
    const request = requests[name];
    const floor = `minimum ${name} usage per ${type} is ${bound}`;
    if (request === undefined) problems.push(`${floor}.  No request is specified`);
    else if (compareQuantities(request, bound) < 0) problems.push(`${floor}, but request is ${request}`);
    else if (limits[name] !== undefined && compareQuantities(limits[name], bound) < 0) {
      problems.push(`${floor}, but limit is ${limits[name]}`);
    }
  }
  for (const [name, bound] of Object.entries(limit["max"] ?? {}) as [string, string][]) {
    const ceiling = `maximum ${name} usage per ${type} is ${bound}`;
    const value = type === "PersistentVolumeClaim" ? requests[name] : limits[name];
    const word = type === "PersistentVolumeClaim" ? "request" : "limit";
    if (value === undefined) problems.push(`${ceiling}.  No ${word} is specified`);
    else if (compareQuantities(value, bound) > 0) problems.push(`${ceiling}, but ${word} is ${value}`);
    else if (
      word === "limit" &&
      requests[name] !== undefined &&
      compareQuantities(requests[name], bound) > 0
    ) {
      problems.push(`${ceiling}, but request is ${requests[name]}`);
    }
  }
  for (const [name, bound] of Object.entries(limit["maxLimitRequestRatio"] ?? {}) as [string, string][]) {
    const [request, ceiling] = [requests[name], limits[name]];
    const rule = `${name} max limit to request ratio per ${type} is ${bound}`;
    if (request === undefined || ceiling === undefined || parseQuantity(request) === 0) {
      problems.push(`${rule}, but no request is specified or request is 0`);
    } else {
      const ratio = parseQuantity(ceiling) / parseQuantity(request);
      if (ratio > parseQuantity(bound)) problems.push(`${rule}, but provided ratio is ${ratio.toFixed(6)}`);
    }
  }
  return problems;
}
