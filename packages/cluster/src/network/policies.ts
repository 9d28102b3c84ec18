/**
 * From NetworkPolicies to addresses and ports: who is isolated, and what is allowed all the same
 * (https://kubernetes.io/docs/concepts/services-networking/network-policies/).
 */
import type { KubeObject } from "@kws/kube/object";
import { selects, type LabelSelector } from "@kws/kube/selector";
import { addresses, type AllowedTraffic, type Isolation, type PolicyState, type PortRange } from "./state.ts";

type Protocol = PortRange["protocol"];

interface PolicyPort {
  protocol?: Protocol;
  port?: number | string;
  endPort?: number;
}

interface Peer {
  podSelector?: LabelSelector;
  namespaceSelector?: LabelSelector;
  ipBlock?: { cidr: string; except?: string[] };
}

interface Rule {
  ports?: PolicyPort[];
  from?: Peer[];
  to?: Peer[];
}

export interface NetworkPolicy extends KubeObject {
  spec: { podSelector?: LabelSelector; policyTypes?: string[]; ingress?: Rule[]; egress?: Rule[] };
}

interface Member {
  namespace: string;
  labels: Record<string, string> | undefined;
  address: string;
  ports: { name?: string; number: number; protocol: Protocol }[];
}

/** Cluster DNS is no pod here, and rules for the one that it is elsewhere apply to it. */
const dns: Member = {
  namespace: "kube-system",
  labels: { "k8s-app": "kube-dns" },
  address: addresses.dns,
  ports: [
    { name: "dns", number: 53, protocol: "UDP" },
    { name: "dns-tcp", number: 53, protocol: "TCP" },
  ],
};

/** Nothing where there is no policy. */
export function policyState(
  policies: NetworkPolicy[],
  pods: KubeObject[],
  namespaces: KubeObject[],
): PolicyState {
  if (policies.length === 0) return { pods: [], isolations: [] };
  const members = pods.flatMap(memberOf);
  const labels = new Map(namespaces.map(({ metadata }) => [metadata.name, metadata.labels]));
  const peers = { all: [...members, dns], labels };
  const isolations = policies.flatMap((policy) => isolationsOf(policy, members, peers));
  return { pods: members.map(({ address }) => address), isolations };
}

/** A pod of the node's own network cannot be told from the node, and no policy concerns it. */
function memberOf({ metadata, spec, status }: KubeObject): Member[] {
  const address: string | undefined = status?.podIP;
  const ended = status?.phase === "Succeeded" || status?.phase === "Failed";
  if (!address || spec?.hostNetwork === true || ended) return [];
  type Container = { ports?: { name?: string; containerPort: number; protocol?: Protocol }[] };
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])] as Container[];
  const ports = containers.flatMap(({ ports = [] }) =>
    ports.map(({ name, containerPort, protocol = "TCP" }) => ({
      ...(name === undefined ? {} : { name }),
      number: containerPort,
      protocol,
    })),
  );
  return [{ namespace: metadata.namespace ?? "", labels: metadata.labels, address, ports }];
}

interface Peers {
  all: Member[];
  /** Labels of namespaces by name. */
  labels: ReadonlyMap<string, Record<string, string> | undefined>;
}

function isolationsOf({ metadata, spec }: NetworkPolicy, members: Member[], peers: Peers): Isolation[] {
  const namespace = metadata.namespace ?? "";
  const own = members.filter((pod) => pod.namespace === namespace && selects(spec.podSelector, pod.labels));
  const pods = own.map(({ address }) => address);
  const isolations: Isolation[] = [];
  if (spec.policyTypes?.includes("Ingress")) {
    const allowed = (spec.ingress ?? []).flatMap(({ from, ports }) =>
      portsOf(ports, own).flatMap(({ holders, range }) =>
        peersOf(from, namespace, peers).flatMap(({ ends }): AllowedTraffic[] => [
          { ...(holders === undefined ? {} : { pods: holders }), ...ends, ...range },
        ]),
      ),
    );
    isolations.push({ direction: "ingress", pods, allowed });
  }
  if (spec.policyTypes?.includes("Egress")) {
    const allowed = (spec.egress ?? []).flatMap(({ to, ports }) =>
      portsOf(ports, peers.all).flatMap(({ holders, range }) =>
        peersOf(to, namespace, peers).flatMap(({ ends, ofPods }): AllowedTraffic[] => {
          if (holders === undefined) return [{ ...ends, ...range }];
          // Only pods give their ports names.
          if (!ofPods) return [];
          const known = new Set(holders);
          return [{ peers: ends.peers?.filter((address) => known.has(address)) ?? holders, ...range }];
        }),
      ),
    );
    isolations.push({ direction: "egress", pods, allowed });
  }
  return isolations;
}

/** Ports by number together, then each number that a name stands for, with the addresses of those who give it that name. */
function portsOf(
  ports: PolicyPort[] | undefined,
  receivers: Member[],
): { range: Pick<AllowedTraffic, "ports">; holders?: string[] }[] {
  if (ports === undefined || ports.length === 0) return [{ range: {} }];
  const numbered: PortRange[] = [];
  const named = new Map<string, { range: { ports: PortRange[] }; holders: string[] }>();
  for (const { protocol = "TCP", port, endPort } of ports) {
    if (port === undefined) numbered.push({ protocol, from: 0, to: 65_535 });
    else if (typeof port === "number") numbered.push({ protocol, from: port, to: endPort ?? port });
    else {
      for (const { address, ports: own } of receivers) {
        const number = own.find((one) => one.name === port && one.protocol === protocol)?.number;
        if (number === undefined) continue;
        const key = `${protocol} ${number}`;
        const range = { ports: [{ protocol, from: number, to: number }] };
        const entry = named.get(key) ?? { range, holders: [] };
        named.set(key, entry);
        entry.holders.push(address);
      }
    }
  }
  return [...(numbered.length === 0 ? [] : [{ range: { ports: numbered } }]), ...named.values()];
}

/** All pods that are selected, then each block of addresses. Without peers it is everybody. */
function peersOf(
  peers: Peer[] | undefined,
  namespace: string,
  { all, labels }: Peers,
): { ends: Pick<AllowedTraffic, "peers" | "except">; ofPods: boolean }[] {
  if (peers === undefined || peers.length === 0) return [{ ends: {}, ofPods: true }];
  const blocks = peers.flatMap(({ ipBlock }) => {
    // Addresses of the sixth version exist in no cluster of this kind.
    if (ipBlock === undefined || ipBlock.cidr.includes(":")) return [];
    const { cidr, except = [] } = ipBlock;
    return [{ ends: { peers: [cidr], ...(except.length === 0 ? {} : { except }) }, ofPods: false }];
  });
  const selectors = peers.filter(({ ipBlock }) => ipBlock === undefined);
  if (selectors.length === 0) return blocks;
  const selected = all.filter((pod) =>
    selectors.some(({ namespaceSelector, podSelector }) => {
      const inNamespace =
        namespaceSelector === undefined
          ? pod.namespace === namespace
          : selects(namespaceSelector, labels.get(pod.namespace));
      return inNamespace && (podSelector === undefined || selects(podSelector, pod.labels));
    }),
  );
  return [{ ends: { peers: selected.map(({ address }) => address) }, ofPods: true }, ...blocks];
}
