import { once } from "node:events";
import type { KubeObject } from "@kws/kube/object";
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Mount } from "../kubelet/runtime.ts";
import { findProgram } from "../kubelet/runtimes/sandbox/tools.ts";
import { describeSandbox, text, until, type Harness } from "../kubelet/testing/runtime-harness.ts";
import { policyState, type NetworkPolicy } from "./policies.ts";
import type { ServiceEntry } from "./state.ts";

const missing = (await findProgram("nft")) === undefined && process.env["CI"] === undefined;

/**
 * Every pod answers on TCP 80 (named `web`) and 81 and UDP 82 with the address that it sees, and on 90, which the node asks,
 * tries connections for the test: `tcp|udp <address> <port>` in, what was answered or what went wrong out. A `keep` stays open and says `more` each time.
 */
const program = `process.on("SIGTERM", () => process.exit()); const net = require("net"), dgram = require("dgram");
for (const port of [80, 81]) net.createServer((s) => { s.on("error", () => {}); s.write(s.remoteAddress); s.on("data", (d) => s.write(d)); }).listen(port, "0.0.0.0");
const u = dgram.createSocket("udp4"); u.on("message", (m, r) => u.send(r.address, r.port, r.address)); u.bind(82);
let kept;
const first = (s) => new Promise((r) => { s.once("data", (d) => r(String(d))); s.once("message", (d) => r(String(d))); s.once("error", (e) => r(e.code)); setTimeout(r, 250, "dropped"); });
const tries = {
  async tcp(address, port) { const s = net.connect(port, address); const said = await first(s); s.destroy(); return said; },
  async udp(address, port) { const s = dgram.createSocket("udp4"); s.send("x", port, address); const said = await first(s); s.close(); return said; },
  async dns(address) { const { Resolver } = require("dns").promises; const r = new Resolver({ timeout: 250, tries: 1 }); r.setServers([address]); return String(await r.resolve4("x.a.svc.cluster.local").catch((e) => e.code)); },
  async keep(address, port) { kept = net.connect(port, address); return first(kept); },
  async more() { kept.write("more"); return first(kept); },
};
net.createServer((s) => s.once("data", async (d) => { const [how, address, port] = String(d).split(" "); s.end(await tries[how](address, Number(port))); })).listen(90, "0.0.0.0", () => console.log("up"));`;

const namespaces: KubeObject[] = ["a", "b"].map((name) => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { ns: name } },
}));
const names = ["a/x", "a/y", "a/z", "b/x", "b/y", "b/z"];
const id = (name: string) => name.replace("/", "-");
const x = { podSelector: { matchLabels: { pod: "x" } } };
const y = { podSelector: { matchLabels: { pod: "y" } } };
const inB = { namespaceSelector: { matchLabels: { ns: "b" } } };
const all = { podSelector: {} };

const policy = (namespace: string, spec: NetworkPolicy["spec"]): NetworkPolicy => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "p", namespace },
  spec,
});
const ingress = (namespace: string, selector: object, ...rules: object[]) =>
  policy(namespace, { ...selector, policyTypes: ["Ingress"], ingress: rules });
const egress = (namespace: string, selector: object, ...rules: object[]) =>
  policy(namespace, { ...selector, policyTypes: ["Egress"], egress: rules });

/** Rows are those who connect and columns those who are connected to, each a/x a/y a/z b/x b/y b/z; a pod always reaches itself. */
const casesOf = (
  at: (name: string) => string,
): { what: string; policies: NetworkPolicy[]; how?: string; table: string[] }[] => [
  {
    what: "no policy",
    policies: [],
    table: ["......", "......", "......", "......", "......", "......"],
  },
  {
    what: "deny all ingress of a namespace",
    policies: [ingress("a", all)],
    table: [".XX...", "X.X...", "XX....", "XXX...", "XXX...", "XXX..."],
  },
  {
    what: "deny all egress of a namespace",
    policies: [egress("a", all)],
    table: [".XXXXX", "X.XXXX", "XX.XXX", "......", "......", "......"],
  },
  {
    what: "deny everything everywhere",
    policies: ["a", "b"].flatMap((name) => [ingress(name, all), egress(name, all)]),
    table: [".XXXXX", "X.XXXX", "XX.XXX", "XXX.XX", "XXXX.X", "XXXXX."],
  },
  {
    what: "ingress from the namespace itself",
    policies: [ingress("a", all, { from: [all] })],
    table: ["......", "......", "......", "XXX...", "XXX...", "XXX..."],
  },
  {
    what: "ingress of one pod from one pod of the other namespace",
    policies: [ingress("a", x, { from: [{ ...inB, ...y }] })],
    table: ["......", "X.....", "X.....", "X.....", "......", "X....."],
  },
  {
    what: "the union of two policies",
    policies: [ingress("a", x, { from: [{ ...inB, ...y }] }), ingress("a", all, { from: [y] })],
    table: [".XX...", "......", "XX....", "XXX...", ".XX...", "XXX..."],
  },
  {
    what: "egress that the other end does not take",
    policies: [egress("a", x, { to: [{ ...inB, ...all }] }), ingress("b", y)],
    table: [".XX.X.", "....X.", "....X.", "....X.", "......", "....X."],
  },
  {
    what: "another port than the allowed one",
    policies: [ingress("a", all, { ports: [{ port: 80 }, { port: 82, endPort: 90, protocol: "UDP" }] })],
    how: "tcp 81",
    table: [".XX...", "X.X...", "XX....", "XXX...", "XXX...", "XXX..."],
  },
  {
    what: "a range of ports of the other protocol",
    policies: [ingress("a", all, { ports: [{ port: 80 }, { port: 82, endPort: 90, protocol: "UDP" }] })],
    how: "udp 82",
    table: ["......", "......", "......", "......", "......", "......"],
  },
  {
    what: "a port by its name",
    policies: [egress("b", all, { ports: [{ port: "web" }] })],
    how: "tcp 80",
    table: ["......", "......", "......", "......", "......", "......"],
  },
  {
    what: "a block of addresses that leaves one out",
    policies: [
      ingress("a", all, { from: [{ ipBlock: { cidr: "10.244.0.0/16", except: [`${at("a/y")}/32`] } }] }),
    ],
    table: ["......", "X.X...", "......", "......", "......", "......"],
  },
];

describe.skipIf(missing)("NetworkPolicies", () => {
  describeSandbox("NetworkPolicies", (h) => {
    const addresses = new Map<string, string>();
    const at = (name: string) => addresses.get(name) ?? "";
    const services: ServiceEntry[] = [];

    beforeAll(async () => {
      const mounts: Mount[] = [
        { type: "bind", source: process.execPath, target: "/bin/node", readOnly: true },
      ];
      for (const name of names) {
        addresses.set(name, (await h.runtime.runPodSandbox(h.fixture.pod(id(name)))).address);
        const spec = h.fixture.container(id(name), id(name), ["node", "-e", program], { mounts });
        await h.runtime.startContainer(spec);
      }
      for (const name of names) await until(() => h.logOf(id(name)).includes("up"));
      const endpoints = [{ address: at("a/x"), port: 80 }];
      services.push({
        key: "a/x",
        clusterIP: "10.96.9.1",
        ports: [{ port: 8080, protocol: "TCP", endpoints }],
      });
    }, 60_000);

    const apply = (policies: NetworkPolicy[]) =>
      h.started.network.apply({
        records: [{ type: "A", name: "x.a.svc.cluster.local", address: "10.96.9.1" }],
        services,
        policies: policyState(
          policies,
          names.map((name) => podOf(name, at(name))),
          namespaces,
        ),
      });
    /** By way of the node, which no policy keeps away. */
    const tell = (name: string, words: string) => ask(h, at(name), words);

    const tableFor = (how = "tcp 80") =>
      Promise.all(
        names.map(async (from) => {
          const [kind, port] = how.split(" ");
          const seen = names.map(async (to) => {
            const said = await tell(from, `${kind} ${at(to)} ${port}`);
            return said === at(from) ? "." : "X";
          });
          return (await Promise.all(seen)).join("");
        }),
      );

    test("decide who reaches whom", { timeout: 120_000 }, async () => {
      for (const { what, policies, how, table } of casesOf(at)) {
        expect(await apply(policies)).toBeUndefined();
        // A machine that is busy may take an answer for a drop.
        await vi.waitFor(
          async () => expect([what, ...(await tableFor(how))]).toEqual([what, ...table]),
          20_000,
        );
      }
    });

    test("see both ends of what goes through a Service, and leave the node and the pod itself alone", async () => {
      await apply([ingress("a", x, { from: [y] }), egress("b", y)]);
      const through = (name: string) => tell(name, "tcp 10.96.9.1 8080");
      await vi.waitFor(async () => expect(await through("a/y")).toBe(at("a/y")), 20_000);
      expect(await through("a/z")).toBe("dropped");
      expect(await through("b/y")).toBe("dropped");
      // By way of the Service to itself: as everywhere, from the node's address.
      await vi.waitFor(async () => expect(await through("a/x")).toBe("10.244.0.1"), 20_000);
      const node = await h.runtime.dial(at("a/x"), 80);
      const said = once(node, "data");
      node.resume();
      expect(String(await said)).toBe("10.244.0.1");
      node.destroy();
    });

    test("a connection that stands goes on, whatever is denied after it was opened", async () => {
      await apply([]);
      await vi.waitFor(async () => expect(await tell("b/z", `keep ${at("a/z")} 80`)).toBe(at("b/z")), 20_000);
      for (const policies of [[ingress("a", all)], [ingress("a", all), egress("b", all)]]) {
        await apply(policies);
        expect(await tell("b/z", `tcp ${at("a/z")} 80`)).toBe("dropped");
        await vi.waitFor(async () => expect(await tell("b/z", "more")).toBe("more"), 20_000);
      }
    });

    test("names are resolved by those whose egress allows it", async () => {
      await apply([egress("a", all), egress("b", all, { ports: [{ port: 53, protocol: "UDP" }] })]);
      await vi.waitFor(async () => expect(await tell("b/x", "dns 10.96.0.10")).toBe("10.96.9.1"), 20_000);
      expect(await tell("a/x", "dns 10.96.0.10")).toBe("ETIMEOUT");
    });

    test("a pod that has just begun is isolated until its address is known", async () => {
      await apply([ingress("a", { podSelector: { matchLabels: { pod: "none" } } })]);
      const known = names.filter((name) => name !== "b/z");
      const policies = policyState(
        [ingress("a", { podSelector: { matchLabels: { pod: "none" } } })],
        known.map((name) => podOf(name, at(name))),
        namespaces,
      );
      await h.started.network.apply({ records: [], services: [], policies });
      await vi.waitFor(async () => expect(await tell("a/x", `tcp ${at("b/x")} 80`)).toBe(at("a/x")), 20_000);
      expect(await tell("a/x", `tcp ${at("b/z")} 80`)).toBe("dropped");
      expect(await tell("b/z", `tcp ${at("a/x")} 80`)).toBe("dropped");
    });
  });
});

function podOf(name: string, address: string): KubeObject {
  const [namespace = "", own = ""] = name.split("/");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: own, namespace, labels: { pod: own } },
    spec: { containers: [{ ports: [{ name: "web", containerPort: 80 }] }] },
    status: { podIP: address, phase: "Running" },
  };
}

async function ask(h: Harness, address: string, words: string): Promise<string> {
  const connection = await h.runtime.dial(address, 90);
  connection.write(words);
  return text(connection);
}
