import type { KubeObject } from "@kws/kube/object";
import { expect, test } from "vitest";
import { addressOf } from "./status.ts";

const store = { service: "store", namespace: "shop" };
const service = (name: string, ...ports: number[]): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, annotations: { "meta.helm.sh/release-name": "store" } },
  spec: { ports: ports.map((port) => ({ port })) },
});

test.each([
  ["that of its own name", [service("cache", 1), service("store", 2)], "store.shop.svc:2"],
  ["one with ports", [service("store"), service("cache", 1)], "cache.shop.svc:1"],
  ["one without ports where there is no other", [service("cache"), service("store")], "store.shop.svc"],
  ["none", [], ""],
])("of several Services the address is %s", (_, services, address) => {
  expect(addressOf(store, [], services)).toBe(address);
});
