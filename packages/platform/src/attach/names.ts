/**
 * The cluster's names for a process of this machine: every port of every Service of the namespace is forwarded. On Linux, where a
 * private view of /etc/hosts can be had, names lead to addresses of the loopback network, and ports keep their numbers;
 * elsewhere, variables that name a Service are written anew.
 */
import { randomInt } from "node:crypto";
import type { KubeObject } from "@kws/kube/object";
import { services } from "@kws/kube/resources";
import { serviceOf } from "../services/workloads.ts";
import { portsOf } from "./backends.ts";
import type { Cluster } from "./cluster.ts";
import { type Forward, openForward } from "./forward.ts";

export interface LocalName {
  /** The Service's. */
  name: string;
  namespace: string;
  address: string;
  /** The port on this machine, by the Service's. */
  ports: Map<number, number>;
}

export interface LocalNames extends AsyncDisposable {
  names: LocalName[];
}

export interface NamesOptions {
  cluster: Cluster;
  namespace: string;
  /** An address for each name, so that ports can keep their numbers. */
  ownAddresses: boolean;
  signal: AbortSignal;
}

export async function openNames({
  cluster,
  namespace,
  ownAddresses,
  signal,
}: NamesOptions): Promise<LocalNames> {
  const { items } = await cluster.client.list(services, namespace, { signal });
  const forwards: Forward[] = [];
  // Sessions that run at once get other addresses.
  const net = `127.${randomInt(64, 127)}.${randomInt(256)}`;
  const open = async (object: KubeObject, index: number): Promise<LocalName> => {
    const { name } = object.metadata;
    const address = ownAddresses ? `${net}.${(index % 254) + 1}` : "127.0.0.1";
    const ports = new Map<number, number>();
    for (const { port, protocol = "TCP" } of portsOf(object)) {
      if (protocol !== "TCP" || ports.has(port)) continue;
      const target = { service: serviceOf(object) ?? name, namespace, kubeService: name, port };
      const rest = { address, localPort: undefined, preferred: port, signal, onState: () => {} };
      const forward = await openForward({ cluster, target, ...rest });
      forwards.push(forward);
      ports.set(port, forward.port);
    }
    return { name, namespace, address, ports };
  };
  const close = async () => {
    await Promise.all(forwards.map((forward) => forward[Symbol.asyncDispose]()));
  };
  try {
    const names: LocalName[] = [];
    for (const [index, object] of items.entries()) names.push(await open(object, index));
    return { names, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

function namesIn({ name, namespace }: LocalName): string[] {
  return [name, `${name}.${namespace}`, `${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`];
}

/** Lines for a hosts file. */
export function hostsLines(names: LocalName[]): string {
  return names.map((one) => `${one.address}\t${namesIn(one).join(" ")}\n`).join("");
}

const defaultPorts: Record<string, number> = { http: 80, https: 443, ws: 80, wss: 443 };

/** The value with each Service that it names, as `host:port` or in a URL, where it is on this machine. */
export function rewriteHosts(value: string, names: LocalName[], hostsKnown: boolean): string {
  const pattern =
    /(?<![\w.-])(?:([a-z][a-z0-9+.]*):\/\/(?:[^@/\s]*@)?)?([a-z][a-z0-9.-]*)(?::(\d+))?(?![\w-])/gi;
  return value.replaceAll(pattern, (whole: string, scheme = "", host = "", written = "") => {
    const found = names.find((one) => namesIn(one).includes(host));
    const port = written === "" ? defaultPorts[scheme.toLowerCase()] : Number(written);
    const local = port === undefined ? undefined : found?.ports.get(port);
    if (found === undefined || local === undefined || (hostsKnown && local === port)) return whole;
    const head = whole.slice(0, whole.length - host.length - (written === "" ? 0 : written.length + 1));
    return `${head}${found.address}:${local}`;
  });
}
