import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { silent } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { controllerOf, type KubeObject } from "@kws/kube/object";
import { deployments, pods, replicaSets } from "@kws/kube/resources";
import { startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import { startControllers } from "./index.ts";

const namespace = "default";
let stop: AbortController;
let api: TestServer;
let client: KubeClient;

beforeEach(async () => {
  stop = new AbortController();
  api = await startTestServer();
  client = api.client;
  await startControllers({
    client,
    logger: silent,
    now: Date.now,
    signal: stop.signal,
    rootCa: "PEM",
    sign: api.server.sign,
    volumesDir: "/nowhere",
  });
});

afterEach(() => {
  stop.abort();
  return api.close();
});

function web(spec: object = {}): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "web", image: "web:1" }] },
      },
      progressDeadlineSeconds: 600,
      revisionHistoryLimit: 10,
      ...spec,
    },
  };
}

/** Plays the kubelet: pods become ready, pods that are being deleted go away. */
async function runPods(): Promise<void> {
  const { items } = await client.list(pods, namespace);
  for (const pod of items) {
    if (pod.metadata.deletionTimestamp !== undefined) {
      await client.delete(pods, pod.metadata.name, namespace, { gracePeriodSeconds: 0 });
    } else if (pod["status"]?.phase !== "Running") {
      const lastTransitionTime = new Date().toISOString();
      const status = {
        phase: "Running",
        conditions: [{ type: "Ready", status: "True", lastTransitionTime }],
      };
      await client.patch(pods, pod.metadata.name, namespace, "merge", { status }, { subresource: "status" });
    }
  }
}

async function rolledOut(image: string): Promise<KubeObject> {
  return vi.waitFor(
    async () => {
      await runPods();
      const { items } = await client.list(pods, namespace);
      expect(items.map((pod) => pod["spec"].containers[0].image)).toEqual([image, image, image]);
      const deployment = await client.get(deployments, "web", namespace);
      expect(deployment["status"]).toMatchObject({ replicas: 3, updatedReplicas: 3, availableReplicas: 3 });
      expect(deployment["status"].observedGeneration).toBe(deployment.metadata.generation);
      return deployment;
    },
    { timeout: 5_000, interval: 10 },
  );
}

async function setImage(image: string): Promise<void> {
  const template = { spec: { containers: [{ name: "web", image }] } };
  await client.patch(deployments, "web", namespace, "merge", { spec: { template } });
}

describe("a Deployment", () => {
  test("creates one ReplicaSet and exactly as many pods as asked for", async () => {
    await client.create(deployments, web());
    const deployment = await rolledOut("web:1");
    expect(deployment.metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("1");
    expect(deployment["status"].conditions).toMatchObject([
      { type: "Progressing", status: "True", reason: "NewReplicaSetAvailable" },
      { type: "Available", status: "True", reason: "MinimumReplicasAvailable" },
    ]);
    const { items } = await client.list(replicaSets, namespace);
    expect(items).toHaveLength(1);
    const [set] = items;
    const hash = set?.metadata.labels?.["pod-template-hash"];
    expect(set?.metadata.name).toBe(`web-${hash}`);
    const created = await client.list(pods, namespace);
    expect(created.items.map((pod) => controllerOf(pod)?.uid)).toEqual(Array(3).fill(set?.metadata.uid));
  });

  test("rolls to a new template and back, keeping the old ReplicaSet as a revision", async () => {
    await client.create(deployments, web());
    await rolledOut("web:1");
    await setImage("web:2");
    const second = await rolledOut("web:2");
    expect(second.metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("2");
    await setImage("web:1");
    const third = await rolledOut("web:1");
    expect(third.metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("3");
    const { items } = await client.list(replicaSets, namespace);
    expect(items).toHaveLength(2);
    expect(
      items.map((set) => set.metadata.annotations?.["deployment.kubernetes.io/revision-history"]),
    ).toContain("1");
  });

  test("never has fewer available pods than the strategy allows", async () => {
    await client.create(
      deployments,
      web({ strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }),
    );
    await rolledOut("web:1");
    await setImage("web:2");
    // No kubelet plays: the rollout must wait for the first new pod.
    await vi.waitFor(async () => {
      const { items } = await client.list(pods, namespace);
      expect(items.filter((pod) => pod["spec"].containers[0].image === "web:2")).toHaveLength(1);
    });
    const { items } = await client.list(pods, namespace);
    expect(items.filter((pod) => pod["spec"].containers[0].image === "web:1")).toHaveLength(3);
    await rolledOut("web:2");
  });

  test("with Recreate ends every old pod before the first new one", async () => {
    await client.create(deployments, web({ strategy: { type: "Recreate" } }));
    await rolledOut("web:1");
    await setImage("web:2");
    await vi.waitFor(async () => {
      await runPods();
      const { items } = await client.list(pods, namespace);
      const images = new Set(items.map((pod) => pod["spec"].containers[0].image as string));
      expect(images.size).toBeLessThan(2);
      expect([...images]).toEqual(["web:2"]);
    });
    await rolledOut("web:2");
  });

  test("replaces a pod that was deleted", async () => {
    await client.create(deployments, web());
    await rolledOut("web:1");
    const [victim] = (await client.list(pods, namespace)).items;
    await client.delete(pods, victim?.metadata.name ?? "", namespace);
    await rolledOut("web:1");
    const { items } = await client.list(pods, namespace);
    expect(items.map((pod) => pod.metadata.uid)).not.toContain(victim?.metadata.uid);
  });
});
