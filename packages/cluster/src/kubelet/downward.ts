/** What a pod may learn of itself: `fieldRef` and `resourceFieldRef` (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/). */
import { parseQuantity } from "@kws/kube/quantity";
import type { FieldRef, Pod, PodContainer, ResourceFieldRef } from "./pod.ts";

/** What the machine has, for limits that a container does not set: cores and bytes. */
export interface Allocatable {
  cpu: number;
  memory: number;
  ephemeralStorage: number;
}

/** The field's value; throws for a path that the downward API does not offer. */
export function fieldValue(pod: Pod, { fieldPath }: FieldRef): string {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(fieldPath);
  if (subscript !== null) {
    const map = subscript[1] === "labels" ? pod.metadata.labels : pod.metadata.annotations;
    return map?.[subscript[2] ?? ""] ?? "";
  }
  switch (fieldPath) {
    case "metadata.name":
      return pod.metadata.name;
    case "metadata.namespace":
      return pod.metadata.namespace ?? "";
    case "metadata.uid":
      return pod.metadata.uid ?? "";
    case "metadata.labels":
      return formatMap(pod.metadata.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata.annotations);
    case "spec.nodeName":
      return pod.spec.nodeName ?? "";
    case "spec.serviceAccountName":
      return pod.spec.serviceAccountName ?? "";
    case "status.hostIP":
      return pod.status?.hostIP ?? "";
    case "status.hostIPs":
      return (pod.status?.hostIPs ?? []).map(({ ip }) => ip).join(",");
    case "status.podIP":
      return pod.status?.podIP ?? "";
    case "status.podIPs":
      return (pod.status?.podIPs ?? []).map(({ ip }) => ip).join(",");
    default:
      throw new Error(`unsupported fieldPath: ${fieldPath}`);
  }
}

/** `key="value"` a line, keys sorted. */
function formatMap(map: Record<string, string> | undefined = {}): string {
  return Object.entries(map)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

/** The limit or request in the divisor's units; where unset, the machine's own. */
export function resourceValue(
  pod: Pod,
  container: PodContainer | undefined,
  { containerName, resource, divisor }: ResourceFieldRef,
  machine: Allocatable,
): string {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const target = containerName === undefined ? container : all.find(({ name }) => name === containerName);
  if (target === undefined) throw new Error(`container ${containerName ?? ""} not found`);
  const dot = resource.indexOf(".");
  const kind = resource.slice(0, dot);
  const name = resource.slice(dot + 1);
  const limits = target.resources?.limits ?? {};
  const requests = target.resources?.requests ?? {};
  const declared = kind === "limits" ? limits[name] : (requests[name] ?? limits[name]);
  if (declared !== undefined) return inUnitsOf(parseQuantity(declared), divisor);
  if (kind === "requests") return "0";
  if (name === "cpu") return inUnitsOf(machine.cpu, divisor);
  if (name === "memory") return inUnitsOf(machine.memory, divisor);
  if (name === "ephemeral-storage") return inUnitsOf(machine.ephemeralStorage, divisor);
  return "0";
}

/** The quantity in units of the divisor, rounded up, as the downward API shows resources. */
function inUnitsOf(quantity: number, divisor: string | undefined): string {
  const unit = divisor === undefined || divisor === "0" ? 1 : parseQuantity(divisor);
  // 1e-9 keeps floating point noise from rounding 100m/1m up to 101.
  return String(Math.ceil(quantity / unit - 1e-9));
}
