import { afterAll, beforeAll, expect, test } from "vitest";
import { podDisruptionBudgets, pods, serviceAccounts } from "@kws/kube/resources";
import { startTestServer, type TestServer } from "./testing/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  const metadata = { name: "default", namespace: "default" };
  await server.client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
});
afterAll(() => server.close());

test("an eviction waits for the disruption budget, spends it, and deletes the pod", async () => {
  const { client } = server;
  const labels = { app: "web" };
  await client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", namespace: "default", labels },
    spec: { containers: [{ name: "c", image: "i" }] },
  });
  await client.patch(
    pods,
    "web",
    "default",
    "merge",
    { status: { phase: "Running" } },
    { subresource: "status" },
  );
  await client.create(podDisruptionBudgets, {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "web", namespace: "default" },
    spec: { minAvailable: 1, selector: { matchLabels: labels } },
  });
  const evict = () =>
    client.create(
      pods,
      { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "web", namespace: "default" } },
      { subresource: "eviction" },
    );
  await expect(evict()).rejects.toMatchObject({ code: 429, reason: "TooManyRequests" });
  const status = {
    disruptionsAllowed: 1,
    observedGeneration: 1,
    currentHealthy: 2,
    desiredHealthy: 1,
    expectedPods: 2,
  };
  await client.patch(podDisruptionBudgets, "web", "default", "merge", { status }, { subresource: "status" });
  await evict();
  expect(await client.find(pods, "web", "default")).toBeUndefined();
  const spent = await client.get(podDisruptionBudgets, "web", "default");
  expect(spent.status.disruptionsAllowed).toBe(0);
  expect(Object.keys(spent.status.disruptedPods as object)).toEqual(["web"]);
});
