import { expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { policyState, type NetworkPolicy } from "./policies.ts";

const namespace = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
});

const pod = (namespace: string, name: string, address: string, more: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace, labels: { app: name } },
  spec: { containers: [{ ports: [{ name: "http", containerPort: 8000 + Number(address.at(-1)) }] }] },
  status: { podIP: address, phase: "Running" },
  ...more,
});

const namespaces = [namespace("a"), namespace("b"), namespace("kube-system")];
const pods = [
  pod("a", "x", "10.244.0.1"),
  pod("a", "y", "10.244.0.2"),
  pod("b", "x", "10.244.0.3"),
  pod("b", "ended", "10.244.0.4", { status: { podIP: "10.244.0.4", phase: "Succeeded" } }),
  pod("b", "node", "10.244.0.5", { spec: { hostNetwork: true } }),
];

function isolations(spec: NetworkPolicy["spec"]) {
  const metadata = { name: "p", namespace: "a" };
  const policy = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec };
  return policyState([policy], pods, namespaces).isolations;
}

test("without policies there is nothing to enforce", () => {
  expect(policyState([], pods, namespaces)).toEqual({ pods: [], isolations: [] });
});

test("the pods of the policy's own namespace are isolated, those of the node's network and ended ones never", () => {
  expect(isolations({ podSelector: {}, policyTypes: ["Ingress", "Egress"] })).toEqual([
    { direction: "ingress", pods: ["10.244.0.1", "10.244.0.2"], allowed: [] },
    { direction: "egress", pods: ["10.244.0.1", "10.244.0.2"], allowed: [] },
  ]);
});

test("a rule without peers and ports allows everything", () => {
  const [ingress] = isolations({ podSelector: {}, policyTypes: ["Ingress"], ingress: [{}] });
  expect(ingress?.allowed).toEqual([{}]);
});

test("selectors of one peer must both match, and those of several peers are joined", () => {
  const inB = { matchLabels: { "kubernetes.io/metadata.name": "b" } };
  const x = { matchLabels: { app: "x" } };
  const allowedFrom = (...from: object[]) =>
    isolations({ podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from }] })[0]?.allowed;
  expect(allowedFrom({ namespaceSelector: inB, podSelector: x })).toEqual([{ peers: ["10.244.0.3"] }]);
  expect(allowedFrom({ podSelector: x })).toEqual([{ peers: ["10.244.0.1"] }]);
  expect(allowedFrom({ namespaceSelector: inB }, { podSelector: x })).toEqual([
    { peers: ["10.244.0.1", "10.244.0.3"] },
  ]);
  expect(allowedFrom({ podSelector: { matchLabels: { app: "none" } } })).toEqual([{ peers: [] }]);
});

test("blocks of addresses keep their exceptions, and those of the sixth version match nothing", () => {
  const to = [
    { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
    { ipBlock: { cidr: "2001:db8::/32" } },
  ];
  const [egress] = isolations({ podSelector: {}, policyTypes: ["Egress"], egress: [{ to }] });
  expect(egress?.allowed).toEqual([{ peers: ["10.0.0.0/8"], except: ["10.1.0.0/16"] }]);
});

test("ports are ranges, a protocol alone is all of its ports", () => {
  const ports = [
    { port: 80 },
    { port: 8000, endPort: 8080, protocol: "UDP" as const },
    { protocol: "SCTP" as const },
  ];
  const [egress] = isolations({ podSelector: {}, policyTypes: ["Egress"], egress: [{ ports }] });
  expect(egress?.allowed).toEqual([
    {
      ports: [
        { protocol: "TCP", from: 80, to: 80 },
        { protocol: "UDP", from: 8000, to: 8080 },
        { protocol: "SCTP", from: 0, to: 65_535 },
      ],
    },
  ]);
});

test("a port's name is the number that the receiving pod gives it", () => {
  const ports = [{ port: "http" }];
  const tcp = (port: number) => [{ protocol: "TCP", from: port, to: port }];
  const [ingress] = isolations({ podSelector: {}, policyTypes: ["Ingress"], ingress: [{ ports }] });
  expect(ingress?.allowed).toEqual([
    { pods: ["10.244.0.1"], ports: tcp(8001) },
    { pods: ["10.244.0.2"], ports: tcp(8002) },
  ]);
  const to = [
    { namespaceSelector: {}, podSelector: { matchLabels: { app: "x" } } },
    { ipBlock: { cidr: "10.0.0.0/8" } },
  ];
  const [egress] = isolations({ podSelector: {}, policyTypes: ["Egress"], egress: [{ to, ports }] });
  expect(egress?.allowed).toEqual([
    { peers: ["10.244.0.1"], ports: tcp(8001) },
    { peers: [], ports: tcp(8002) },
    { peers: ["10.244.0.3"], ports: tcp(8003) },
  ]);
});

test("rules for the cluster's DNS, as they are written for any cluster, reach it", () => {
  const to = [{ namespaceSelector: {}, podSelector: { matchLabels: { "k8s-app": "kube-dns" } } }];
  const [egress] = isolations({
    podSelector: {},
    policyTypes: ["Egress"],
    egress: [{ to, ports: [{ port: 53, protocol: "UDP" }] }],
  });
  expect(egress?.allowed).toEqual([
    { peers: ["10.96.0.10"], ports: [{ protocol: "UDP", from: 53, to: 53 }] },
  ]);
});
