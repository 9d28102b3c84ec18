import { afterAll, beforeAll, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { namespaces, pods, resourceQuotas, serviceAccounts, services } from "@kws/kube/resources";
import { startTestServer, type TestServer } from "./testing/server.ts";

let cluster: TestServer;
beforeAll(async () => {
  cluster = await startTestServer();
});
afterAll(() => cluster.close());

const namespace = "default";

function service(name: string): KubeObject {
  const spec = { type: "NodePort", ports: [{ port: 80 }], selector: { app: "x" } };
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec };
}

function pod(name: string, space = namespace): KubeObject {
  const spec = { containers: [{ name: "c", image: "i:1" }] };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: space }, spec };
}

test("Services that are made at the same time never share an address or a node port", async () => {
  const made = await Promise.all(
    Array.from({ length: 200 }, (_, index) => cluster.client.create(services, service(`s${index}`))),
  );
  expect(new Set(made.map(({ spec }) => spec.clusterIP as string)).size).toBe(200);
  expect(new Set(made.map(({ spec }) => spec.ports[0].nodePort as number)).size).toBe(200);
});

test("of Services that ask for one node port at the same time, one gets it", async () => {
  const asking = ["a", "b", "c"].map((name) => {
    const wanted = service(name);
    wanted.spec.ports[0].nodePort = 30_000;
    return cluster.client.create(services, wanted);
  });
  const results = await Promise.allSettled(asking);
  // The draw above may have given the port away already.
  expect(results.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(1);
  const { items } = await cluster.client.list(services);
  const owners = items.filter(({ spec }) =>
    spec.ports.some((port: { nodePort?: number }) => port.nodePort === 30_000),
  );
  expect(owners).toHaveLength(1);
});

test("pods that are made at the same time do not exceed a quota together", async () => {
  const quota = { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "q", namespace } };
  await cluster.client.create(resourceQuotas, { ...quota, spec: { hard: { pods: "3" } } });
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } };
  await cluster.client.create(serviceAccounts, account);
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) => cluster.client.create(pods, pod(`p${index}`))),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
});

test("a pod waits for the account of a namespace that was just made", async () => {
  await cluster.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "new" } });
  const creating = cluster.client.create(pods, pod("early", "new"));
  const metadata = { name: "default", namespace: "new" };
  await cluster.client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
  expect((await creating).spec.serviceAccountName).toBe("default");
});
