/**
 * What the cluster's network namespace has to be told to serve Services and names: a whole picture each time, so that
 * applying it twice is the same as once and a restarted side needs no history.
 */

export interface NetworkState {
  services: ServiceEntry[];
  records: DnsRecord[];
  policies: PolicyState;
}

/** What NetworkPolicies come to, in addresses. */
export interface PolicyState {
  /** Every pod that is known: while there is an isolation, one that is not is isolated from all. */
  pods: string[];
  isolations: Isolation[];
}

/** One direction of one policy. A pod may have several, and what any of them allows is allowed. */
export interface Isolation {
  direction: "ingress" | "egress";
  /** Addresses of the pods that it isolates. */
  pods: string[];
  allowed: AllowedTraffic[];
}

export interface AllowedTraffic {
  /** Those of the isolated pods to which it applies; all unless given. */
  pods?: string[];
  /** Addresses and ranges (CIDR) at the other end; any unless given. */
  peers?: string[];
  except?: string[];
  /** At the receiving end; any, of all protocols, unless given. */
  ports?: PortRange[];
}

export interface PortRange {
  protocol: "TCP" | "UDP" | "SCTP";
  from: number;
  to: number;
}

export interface ServiceEntry {
  /** `namespace/name`, for logs. */
  key: string;
  /** The Service's cluster address; headless Services have none and are not here. */
  clusterIP: string;
  sessionAffinitySeconds?: number;
  ports: ServicePort[];
}

export interface ServicePort {
  port: number;
  protocol: "TCP" | "UDP";
  /** Ready endpoints; none means that connections are refused. */
  endpoints: { address: string; port: number }[];
}

/** Names are fully qualified, lower case, without the last dot. Schema of https://github.com/kubernetes/dns/blob/master/docs/specification.md. */
export type DnsRecord =
  | { type: "A"; name: string; address: string }
  | { type: "SRV"; name: string; target: string; port: number }
  | { type: "CNAME"; name: string; target: string };

/** The part of the in-namespace helper that serves this state. */
export interface NetworkDataplane {
  /** Answers why policies cannot be enforced here; undefined where they are. */
  apply(state: NetworkState): Promise<string | undefined>;
}

/** Addresses inside the cluster's own network namespace; clusters may share them since each has its own. */
export const addresses = {
  clusterDomain: "cluster.local",
  podCidr: "10.244.0.0/16",
  /** The bridge, and with it the node. */
  node: "10.244.0.1",
  /** Stands for the machine outside, whose loopback services are there; `hostName` is its name. */
  host: "10.244.0.2",
  hostName: "host.kws.internal",
  serviceCidr: "10.96.0.0/16",
  /** The Service `default/kubernetes`. */
  apiServer: "10.96.0.1",
  /** The Service `kube-system/kube-dns`. */
  dns: "10.96.0.10",
} as const;
