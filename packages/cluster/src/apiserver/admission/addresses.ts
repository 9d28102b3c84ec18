/** Gives Services their address within the cluster and their ports on the nodes, or takes the ones they ask for. */
import type { KubeObject } from "@kws/kube/object";
import { services } from "@kws/kube/resources";
import { apiError, type ApiError } from "@kws/kube/status";
import { invalid } from "../resources/cause.ts";
import { list } from "../resources/loose.ts";
import type { Fields } from "../resources/resource.ts";
import { service as definition, usesNodePorts } from "../resources/service.ts";
import type { AdmissionContext } from "./context.ts";
import { isKind } from "./failures.ts";

/** 10.96.0.0/16 */
const prefix = "10.96";
const range = "10.96.0.0/16";
const firstNodePort = 30_000;
const lastNodePort = 32_767;

/** Addresses that only the named Service may have. */
const reserved: Record<string, string> = {
  "default/kubernetes": "10.96.0.1",
  "kube-system/kube-dns": "10.96.0.10",
};

export function allocateService(context: AdmissionContext): void {
  const { object, old, operation, subresource } = context;
  if (operation === "DELETE" || subresource || object === undefined || !isKind(context, "", "services"))
    return;
  // What the old object had been given is kept before anything new is given out.
  if (old !== undefined) definition.prepareForUpdate?.(object, old);
  const spec: Fields = (object["spec"] ??= {});
  const others = context
    .list(services)
    .filter(
      ({ metadata }) =>
        metadata.name !== object.metadata.name || metadata.namespace !== object.metadata.namespace,
    );
  allocateAddress(object, spec, others);
  if (usesNodePorts(spec)) allocateNodePorts(object, spec, others);
}

function allocateAddress(object: KubeObject, spec: Fields, others: readonly KubeObject[]): void {
  if (spec["type"] === "ExternalName" || spec["clusterIP"] === "None") return;
  const taken = new Set(others.flatMap((other) => (other["spec"]?.clusterIPs ?? []) as string[]));
  for (const address of Object.values(reserved)) taken.add(address);
  const own = reserved[`${object.metadata.namespace}/${object.metadata.name}`];
  if (own !== undefined && !others.some((other) => other["spec"]?.clusterIP === own)) taken.delete(own);
  const wanted: string | undefined = spec["clusterIP"] || undefined;
  if (wanted !== undefined) checkWanted(object, wanted, taken);
  const address = wanted ?? (own !== undefined && !taken.has(own) ? own : freeAddress(object, taken));
  spec["clusterIP"] = address;
  spec["clusterIPs"] = [address];
}

function checkWanted(object: KubeObject, wanted: string, taken: Set<string>): void {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(wanted);
  if (match === null || match.slice(1).some((part) => Number(part) > 255)) {
    const detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    throw refused(object, "spec.clusterIPs[0]", wanted, detail);
  }
  if (!wanted.startsWith(`${prefix}.`)) {
    const detail = `failed to allocate IP ${wanted}: the provided IP (${wanted}) is not in the valid range. The range of valid IPs is ${range}`;
    throw refused(object, "spec.clusterIPs", [wanted], detail);
  }
  if (taken.has(wanted)) {
    const detail = `failed to allocate IP ${wanted}: provided IP is already allocated`;
    throw refused(object, "spec.clusterIPs", [wanted], detail);
  }
}

/** Random, so that an address is not soon given again; the first 256 are left for those who ask for one. */
function freeAddress(object: KubeObject, taken: Set<string>): string {
  const start = 256 + Math.floor(Math.random() * (65_534 - 256));
  for (let offset = 0; offset < 65_534; offset++) {
    const host = 1 + ((start + offset) % 65_534);
    const address = `${prefix}.${host >> 8}.${host & 255}`;
    if (!taken.has(address)) return address;
  }
  throw apiError("InternalError", `no free address in ${range} for Service "${object.metadata.name}"`);
}

function allocateNodePorts(object: KubeObject, spec: Fields, others: readonly KubeObject[]): void {
  const taken = new Set(
    others.flatMap((other) => [
      ...list(other["spec"]?.ports).map((port) => Number(port["nodePort"])),
      Number(other["spec"]?.healthCheckNodePort ?? 0),
    ]),
  );
  const own = new Map<number, string>();
  for (const [index, port] of list(spec["ports"]).entries()) {
    const wanted = Number(port["nodePort"] || 0);
    if (wanted === 0) continue;
    const field = `spec.ports[${index}].nodePort`;
    if (wanted < firstNodePort || wanted > lastNodePort) {
      const detail = `provided port is not in the valid range. The range of valid ports is ${firstNodePort}-${lastNodePort}`;
      throw refused(object, field, wanted, detail);
    }
    // One number may serve TCP and UDP of one Service.
    if (taken.has(wanted) || own.get(wanted) === port["protocol"]) {
      throw refused(object, field, wanted, "provided port is already allocated");
    }
    own.set(wanted, port["protocol"]);
  }
  const used = new Set([...taken, ...own.keys()]);
  for (const port of list(spec["ports"])) port["nodePort"] ||= freeNodePort(object, used);
  const checked = spec["type"] === "LoadBalancer" && spec["externalTrafficPolicy"] === "Local";
  if (checked) spec["healthCheckNodePort"] ||= freeNodePort(object, used);
}

function freeNodePort(object: KubeObject, used: Set<number>): number {
  const size = lastNodePort - firstNodePort + 1;
  const start = Math.floor(Math.random() * size);
  for (let offset = 0; offset < size; offset++) {
    const port = firstNodePort + ((start + offset) % size);
    if (used.has(port)) continue;
    used.add(port);
    return port;
  }
  throw apiError("InternalError", `no free node port for Service "${object.metadata.name}"`);
}

function refused(object: KubeObject, field: string, value: unknown, detail: string): ApiError {
  const cause = invalid(field, value, detail);
  const { name } = object.metadata;
  return apiError("Invalid", `Service "${name}" is invalid: ${field}: ${cause.message}`, {
    name,
    kind: "Service",
    causes: [cause],
  });
}
