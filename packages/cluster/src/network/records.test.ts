import type { KubeObject } from "@kws/kube/object";
import { expect, test } from "vitest";
import { networkState, type EndpointSlice, type Service } from "./records.ts";

const service = (name: string, spec: Service["spec"]): Service => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "ns" },
  spec,
});
const slice = (endpoints: EndpointSlice["endpoints"]): EndpointSlice => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: "s", namespace: "ns" },
  addressType: "IPv4",
  endpoints,
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
});
const ports = [{ name: "http", port: 80, protocol: "TCP" }];

test("a Service has its address, SRV records of named ports and its ready endpoints", () => {
  const { services, records } = networkState(
    [service("web", { clusterIP: "10.96.0.5", ports })],
    new Map([
      [
        "ns/web",
        [
          slice([
            { addresses: ["10.244.0.2"], conditions: { ready: true } },
            { addresses: ["10.244.0.3"], conditions: { ready: false } },
          ]),
        ],
      ],
    ]),
    [],
  );
  expect(services).toEqual([
    {
      key: "ns/web",
      clusterIP: "10.96.0.5",
      ports: [{ port: 80, protocol: "TCP", endpoints: [{ address: "10.244.0.2", port: 8080 }] }],
    },
  ]);
  expect(records).toEqual([
    { type: "A", name: "web.ns.svc.cluster.local", address: "10.96.0.5" },
    {
      type: "SRV",
      name: "_http._tcp.web.ns.svc.cluster.local",
      target: "web.ns.svc.cluster.local",
      port: 80,
    },
  ]);
});

test("terminating endpoints serve only where no other is ready", () => {
  const terminating = {
    addresses: ["10.244.0.9"],
    conditions: { ready: false, serving: true, terminating: true },
  };
  const of = (endpoints: EndpointSlice["endpoints"]) =>
    networkState(
      [service("web", { clusterIP: "10.96.0.5", ports })],
      new Map([["ns/web", [slice(endpoints)]]]),
      [],
    ).services[0]?.ports[0]?.endpoints.map(({ address }) => address);
  expect(of([terminating])).toEqual(["10.244.0.9"]);
  expect(of([terminating, { addresses: ["10.244.0.2"], conditions: {} }])).toEqual(["10.244.0.2"]);
});

test("a headless Service names each endpoint by hostname or dashed address", () => {
  const endpoints = [{ addresses: ["10.244.0.2"], hostname: "db-0" }, { addresses: ["10.244.0.3"] }];
  const { services, records } = networkState(
    [service("db", { clusterIP: "None", ports })],
    new Map([["ns/db", [slice(endpoints)]]]),
    [],
  );
  expect(services).toEqual([]);
  expect(records).toContainEqual({ type: "A", name: "db-0.db.ns.svc.cluster.local", address: "10.244.0.2" });
  expect(records).toContainEqual({
    type: "A",
    name: "10-244-0-3.db.ns.svc.cluster.local",
    address: "10.244.0.3",
  });
  expect(records).toContainEqual({
    type: "SRV",
    name: "_http._tcp.db.ns.svc.cluster.local",
    target: "db-0.db.ns.svc.cluster.local",
    port: 8080,
  });
});

test("an ExternalName is a CNAME and a pod has its dashed name", () => {
  const pod: KubeObject = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "ns" },
    status: { podIP: "10.244.0.5" },
  };
  const { records } = networkState(
    [service("out", { type: "ExternalName", externalName: "example.com" })],
    new Map(),
    [pod],
  );
  expect(records).toEqual([
    { type: "CNAME", name: "out.ns.svc.cluster.local", target: "example.com" },
    { type: "A", name: "10-244-0-5.ns.pod.cluster.local", address: "10.244.0.5" },
  ]);
});
