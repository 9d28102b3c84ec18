/**
 * From Services and their EndpointSlices to the picture that the data plane serves. Names follow
 * https://github.com/kubernetes/dns/blob/master/docs/specification.md.
 */
import { keyOf, type KubeObject } from "@kws/kube/object";
import {
  addresses,
  type DnsRecord,
  type NetworkState,
  type ServiceEntry,
  type ServicePort,
} from "./state.ts";

export interface Service extends KubeObject {
  spec: {
    type?: string;
    clusterIP?: string;
    externalName?: string;
    selector?: Record<string, string>;
    publishNotReadyAddresses?: boolean;
    sessionAffinity?: string;
    sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } };
    ports?: {
      name?: string;
      port: number;
      protocol?: string;
      targetPort?: number | string;
      nodePort?: number;
    }[];
  };
}

export interface EndpointSlice extends KubeObject {
  addressType?: string;
  endpoints?: {
    addresses: string[];
    hostname?: string;
    conditions?: { ready?: boolean | null; serving?: boolean | null; terminating?: boolean | null };
  }[];
  ports?: { name?: string; port?: number; protocol?: string }[];
}

export interface Endpoint {
  address: string;
  port: number;
}

const domain = addresses.clusterDomain;

/** `slices` by the key of the Service that they belong to. */
export function networkState(
  services: Service[],
  slices: ReadonlyMap<string, EndpointSlice[]>,
  pods: KubeObject[],
): Omit<NetworkState, "policies"> {
  const entries: ServiceEntry[] = [];
  const records: DnsRecord[] = [];
  for (const service of services) {
    const own = slices.get(keyOf(service)) ?? [];
    records.push(...recordsOf(service, own));
    const { clusterIP } = service.spec;
    if (service.spec.type === "ExternalName" || !clusterIP || clusterIP === "None") continue;
    entries.push(entryOf(service, clusterIP, own));
  }
  for (const pod of pods) records.push(...podRecord(pod));
  return { services: entries, records };
}

function entryOf(service: Service, clusterIP: string, slices: EndpointSlice[]): ServiceEntry {
  const { sessionAffinity, sessionAffinityConfig, ports = [] } = service.spec;
  return {
    key: keyOf(service),
    clusterIP,
    ...(sessionAffinity === "ClientIP"
      ? { sessionAffinitySeconds: sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800 }
      : {}),
    ports: ports
      .filter(({ protocol = "TCP" }) => protocol === "TCP" || protocol === "UDP")
      .map(({ name, port, protocol }) => ({
        port,
        protocol: (protocol ?? "TCP") as ServicePort["protocol"],
        endpoints: endpointsOf(slices, name, protocol),
      })),
  };
}

/** Where traffic for the port goes: ready endpoints; where there are none, those that still serve while terminating (KEP-1669). */
export function endpointsOf(slices: EndpointSlice[], portName = "", protocol = "TCP"): Endpoint[] {
  const ready = new Map<string, Endpoint>();
  const terminating = new Map<string, Endpoint>();
  for (const { ports = [], endpoints = [], addressType = "IPv4" } of slices) {
    const match = ports.find(({ name = "", protocol: p = "TCP" }) => name === portName && p === protocol);
    if (match?.port === undefined || addressType !== "IPv4") continue;
    for (const { addresses: [address] = [], conditions } of endpoints) {
      if (address === undefined) continue;
      const endpoint = { address, port: match.port };
      const key = `${address}:${match.port}`;
      if (conditions?.ready !== false) ready.set(key, endpoint);
      else if (conditions.serving === true && conditions.terminating === true) terminating.set(key, endpoint);
    }
  }
  return [...(ready.size > 0 ? ready : terminating).values()];
}

function recordsOf(service: Service, slices: EndpointSlice[]): DnsRecord[] {
  const { namespace, name: own } = service.metadata;
  const name = `${own}.${namespace}.svc.${domain}`;
  const { type, externalName, clusterIP, ports = [] } = service.spec;
  if (type === "ExternalName") {
    return externalName
      ? [{ type: "CNAME", name, target: externalName.replace(/\.$/, "").toLowerCase() }]
      : [];
  }
  if (clusterIP === "None") return headlessRecords(service, name, slices);
  if (!clusterIP) return [];
  const srv = ports
    .filter((port) => port.name)
    .map((port): DnsRecord => ({
      type: "SRV",
      name: srvName(port.name ?? "", port.protocol, name),
      target: name,
      port: port.port,
    }));
  return [{ type: "A", name, address: clusterIP }, ...srv];
}

/** Every endpoint by itself, under its hostname or, lacking one, its address with dashes. */
function headlessRecords(service: Service, name: string, slices: EndpointSlice[]): DnsRecord[] {
  const unready = service.spec.publishNotReadyAddresses === true;
  const records: DnsRecord[] = [];
  const seen = new Set<string>();
  const add = (record: DnsRecord) => {
    const key = JSON.stringify(record);
    if (!seen.has(key)) records.push(record);
    seen.add(key);
  };
  for (const { endpoints = [], ports = [], addressType = "IPv4" } of slices) {
    if (addressType !== "IPv4") continue;
    for (const { addresses: all, hostname, conditions } of endpoints) {
      if (conditions?.ready === false && !unready) continue;
      for (const address of all) {
        const target = `${hostname ?? address.replaceAll(".", "-")}.${name}`;
        add({ type: "A", name, address });
        add({ type: "A", name: target, address });
        for (const port of ports) {
          if (!port.name || port.port === undefined) continue;
          add({ type: "SRV", name: srvName(port.name, port.protocol, name), target, port: port.port });
        }
      }
    }
  }
  return records;
}

function srvName(port: string, protocol: string | undefined, name: string): string {
  return `_${port}._${(protocol ?? "TCP").toLowerCase()}.${name}`;
}

/** `10-244-0-5.ns.pod.cluster.local` for every pod with an address. */
function podRecord(pod: KubeObject): DnsRecord[] {
  const address: string | undefined = pod.status?.podIP;
  if (!address || pod.spec?.hostNetwork === true) return [];
  const name = `${address.replaceAll(".", "-")}.${pod.metadata.namespace}.pod.${domain}`;
  return [{ type: "A", name, address }];
}
