/**
 * Enforces NetworkPolicies by nftables, on the node that all of the pods' traffic is routed through. While a pod is isolated,
 * Service addresses are translated here too, instead of by the proxy, so that both ends are judged by their own addresses; a
 * pod and its node always reach each other. Without policies there is no table, and nothing is tracked.
 *
 * Each change replaces the table in one transaction. What stands goes on: the kernel keeps the connections that it tracks, and
 * packets of TCP connections that are older than the table are let through.
 */
import { runTool } from "../kubelet/runtimes/sandbox/commands.ts";
import { findProgram } from "../kubelet/runtimes/sandbox/tools.ts";
import { messageOf } from "@kws/base/errors";
import { bridge } from "./bridge.ts";
import {
  addresses,
  type AllowedTraffic,
  type Isolation,
  type PolicyState,
  type PortRange,
  type ServiceEntry,
} from "./state.ts";

const removal = "add table ip kws\ndelete table ip kws\n";

export class Firewall {
  #applied = "";
  #last: Promise<unknown> = Promise.resolve();
  #unable: Promise<string | undefined> | undefined;

  /** Answers why nothing can be enforced; undefined where it is, or where nothing is to be. */
  apply(policies: PolicyState, services: ServiceEntry[]): Promise<string | undefined> {
    const wanted = policies.isolations.length === 0 ? "" : tableOf(policies, services);
    const applying = this.#last.then(async () => {
      if (wanted === this.#applied) return undefined;
      const unable = await (this.#unable ??= findFault());
      if (unable !== undefined) return unable;
      await runTool("nft", ["-f", "-"], { input: removal + wanted });
      this.#applied = wanted;
      return undefined;
    });
    this.#last = applying.catch(() => undefined);
    return applying;
  }
}

/** Has the kernel check a table with one of everything. */
async function findFault(): Promise<string | undefined> {
  if ((await findProgram("nft")) === undefined)
    return "the program nft is not installed (Debian's package nftables)";
  const [pod, port] = ["10.244.0.10", { from: 80, to: 81 }];
  const allowed: AllowedTraffic[] = [
    { peers: [pod], except: [pod], ports: [{ protocol: "TCP", ...port }] },
    { ports: [{ protocol: "SCTP", ...port }] },
  ];
  const directions = ["ingress", "egress"] as const;
  const isolations = directions.map((direction): Isolation => ({ direction, pods: [pod], allowed }));
  const endpoints = [
    { address: pod, port: 80 },
    { address: pod, port: 81 },
  ];
  const service: ServiceEntry = {
    key: "",
    clusterIP: "10.96.1.1",
    ports: [{ port: 80, protocol: "TCP", endpoints }],
  };
  const services = [service, { ...service, clusterIP: "10.96.1.2", sessionAffinitySeconds: 1 }];
  const input = removal + tableOf({ pods: [pod], isolations }, services);
  return runTool("nft", ["--check", "-f", "-"], { input }).then(
    () => undefined,
    (error: unknown) => `this kernel does not take the rules: ${messageOf(error)}`,
  );
}

/** The table in the language of nft(8). */
export function tableOf({ pods, isolations }: PolicyState, services: ServiceEntry[]): string {
  const ingress = verdicts("ingress", isolations);
  const egress = verdicts("egress", isolations);
  const translations = translationsOf(services);
  const standing = "ct state established,related accept\n    tcp flags & (syn | rst | ack) != syn accept";
  const unknown = (end: string) =>
    `ip ${end} ${addresses.podCidr} ip ${end} != ${setOf([addresses.node, addresses.host, ...pods])} drop`;
  return `table ip kws {
  map services {
    type ipv4_addr . inet_proto . inet_service : verdict
    ${elementsOf(translations.services)}
  }
  set selves {
    type ipv4_addr . ipv4_addr
    ${elementsOf(pods.map((address) => `${address} . ${address}`))}
  }
  map egress {
    type ipv4_addr : verdict
    ${elementsOf(egress.map)}
  }
  map ingress {
    type ipv4_addr : verdict
    ${elementsOf(ingress.map)}
  }
${[...translations.chains, ...egress.chains, ...ingress.chains].join("\n")}
  chain translate {
    type nat hook prerouting priority dstnat
    iifname "${bridge}" ip daddr . ip protocol . th dport vmap @services
  }
  chain to-itself {
    type nat hook postrouting priority srcnat
    ip saddr . ip daddr @selves ct status dnat masquerade
  }
  chain sent {
    type filter hook forward priority filter
    ${standing}
    ip saddr . ip daddr @selves accept
    ${unknown("saddr")}
    ip saddr vmap @egress
  }
  chain received {
    type filter hook forward priority filter + 1
    ${standing}
    ip saddr . ip daddr @selves accept
    ${unknown("daddr")}
    ip daddr vmap @ingress
  }
  chain sent-to-node {
    type filter hook input priority filter
    iifname != "${bridge}" accept
    ${standing}
    ip daddr { ${addresses.node}, ${addresses.apiServer} } accept
    ${unknown("saddr")}
    ip saddr vmap @egress
  }
}
`;
}

/** A chain for each isolation, and one for each combination of them that a pod has. */
function verdicts(
  direction: Isolation["direction"],
  isolations: Isolation[],
): { map: string[]; chains: string[] } {
  const byPod = new Map<string, string[]>();
  const chains: string[] = [];
  for (const [index, isolation] of isolations.entries()) {
    if (isolation.direction !== direction) continue;
    const name = `${direction}-${index}`;
    chains.push(
      chain(
        name,
        isolation.allowed.flatMap((allowed) => rulesOf(direction, allowed)),
      ),
    );
    for (const pod of isolation.pods) byPod.set(pod, [...(byPod.get(pod) ?? []), name]);
  }
  const combined = new Map<string, string>();
  const map = [...byPod].map(([pod, names]) => {
    const key = names.join();
    const name = combined.get(key) ?? `${direction}-of-${combined.size}`;
    combined.set(key, name);
    return `${pod} : goto ${name}`;
  });
  for (const [key, name] of combined) {
    chains.push(chain(name, [...key.split(",").map((one) => `jump ${one}`), "drop"]));
  }
  return { map, chains };
}

function rulesOf(
  direction: Isolation["direction"],
  { pods, peers, except, ports }: AllowedTraffic,
): string[] {
  if (peers?.length === 0) return [];
  const [own, other] = direction === "ingress" ? ["daddr", "saddr"] : ["saddr", "daddr"];
  const ends = [
    ...(pods === undefined ? [] : [`ip ${own} ${setOf(pods)}`]),
    ...(peers === undefined ? [] : [`ip ${other} ${setOf(peers)}`]),
    ...(except ?? []).map((range) => `ip ${other} != ${range}`),
  ];
  const matches = ports === undefined ? [[]] : portMatches(ports);
  return matches.map((match) => [...ends, ...match, "accept"].join(" "));
}

function portMatches(ports: PortRange[]): string[][] {
  const protocols = new Set(ports.map(({ protocol }) => protocol));
  return [...protocols].map((protocol) => {
    const ranges = merged(ports.filter((range) => range.protocol === protocol));
    return [`${protocol.toLowerCase()} dport ${setOf(ranges.map(({ from, to }) => `${from}-${to}`))}`];
  });
}

/** Ranges that do not meet, since nft refuses those that overlap. */
function merged(ranges: PortRange[]): PortRange[] {
  const disjoint: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = disjoint.at(-1);
    if (last !== undefined && range.from <= last.to + 1) last.to = Math.max(last.to, range.to);
    else disjoint.push({ ...range });
  }
  return disjoint;
}

/** As kube-proxy balances: at random, or by the client's address where it is to stay with one endpoint. */
function translationsOf(services: ServiceEntry[]): { services: string[]; chains: string[] } {
  const entries: string[] = [];
  const chains: string[] = [];
  for (const { clusterIP, sessionAffinitySeconds, ports } of services) {
    for (const { port, protocol, endpoints } of ports) {
      const own = clusterIP === addresses.apiServer || clusterIP === addresses.dns;
      if (own || endpoints.length === 0) continue;
      const name = `service-${entries.length}`;
      const transport = protocol.toLowerCase();
      entries.push(`${clusterIP} . ${transport} . ${port} : goto ${name}`);
      const choose = sessionAffinitySeconds === undefined ? "numgen random" : "jhash ip saddr";
      const seed = sessionAffinitySeconds === undefined ? "" : " seed 1";
      const choices = endpoints.map((_, index) => `${index} : goto ${name}-${index}`);
      for (const [index, endpoint] of endpoints.entries()) {
        const to = `${endpoint.address}:${endpoint.port}`;
        chains.push(chain(`${name}-${index}`, [`meta l4proto ${transport} dnat to ${to}`]));
      }
      chains.push(chain(name, [`${choose} mod ${endpoints.length}${seed} vmap { ${choices.join(", ")} }`]));
    }
  }
  return { services: entries, chains };
}

function chain(name: string, rules: string[]): string {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"].join("\n");
}

function setOf(elements: string[]): string {
  return `{ ${[...new Set(elements)].join(", ")} }`;
}

function elementsOf(elements: string[]): string {
  return elements.length === 0 ? "" : `elements = { ${elements.join(", ")} }`;
}
