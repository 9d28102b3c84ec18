import { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { deployments, horizontalPodAutoscalers, leases, statefulSets } from "@kws/kube/resources";
import { apiError } from "@kws/kube/status";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import type { Transport } from "@kws/kube/transport";
import { expect, test } from "vitest";
import { readMark } from "../services/held.ts";
import { devTemplate, type PodTemplate } from "./container.ts";
import { giveBack, originalTemplate, swapIn } from "./swap.ts";

const mark = { service: "web", by: "ann@one", since: "2030-01-01T00:00:00Z", container: "web" };
const workload = { kind: "Deployment", name: "web", namespace: "shop" } as const;

const template: PodTemplate = {
  metadata: { labels: { app: "web" } },
  spec: {
    containers: [
      { name: "web", image: "shop/web:1" },
      { name: "proxy", image: "proxy:1" },
    ],
  },
};

const dev = (original: PodTemplate, image?: string) =>
  devTemplate(original, {
    service: "web",
    container: "web",
    command: ["node", "server.js"],
    env: {},
    workdir: "/app",
    mount: "/src/web",
    keep: [],
    ...(image === undefined ? {} : { image }),
  });

function deployment(): KubeObject {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name: "web",
      namespace: "shop",
      annotations: { "meta.helm.sh/release-name": "web" },
      managedFields: [
        { manager: "helm", operation: "Apply", apiVersion: "apps/v1", fieldsType: "FieldsV1", fieldsV1: {} },
      ],
    },
    spec: { replicas: 3, selector: { matchLabels: { app: "web" } }, template },
  };
}

/** A client whose process dies after so many writes have been made: later ones are not. */
function dyingAfter(writes: number, api: Transport): KubeClient {
  let left = writes;
  return new KubeClient({
    request(request) {
      if (request.method !== "GET" && left-- <= 0) throw new Error("killed");
      return api.request(request);
    },
  });
}

const content = ({ metadata, ...rest }: KubeObject) => {
  const { resourceVersion: _version, ...own } = metadata;
  return { ...rest, metadata: own };
};

test("a service that is replaced runs one dev container with its neighbours, and is given back as it was", async () => {
  const client = new KubeClient(createMemoryApi());
  await client.create(deployments, deployment());
  const before = content(await client.get(deployments, "web", "shop"));
  await swapIn(client, workload, mark, dev);
  const held = await client.get(deployments, "web", "shop");
  expect(readMark(held)).toEqual(mark);
  expect(held["spec"].replicas).toBe(1);
  expect(held["spec"].template.spec.containers[1]).toEqual({ name: "proxy", image: "proxy:1" });
  expect(await giveBack(client, workload, "web")).toBe(true);
  expect(content(await client.get(deployments, "web", "shop"))).toEqual(before);
  expect(await giveBack(client, workload, "web")).toBe(false);
});

test("a held service that is replaced again still remembers what it was, not the dev container", async () => {
  const client = new KubeClient(createMemoryApi());
  await client.create(deployments, deployment());
  await swapIn(client, workload, mark, dev);
  await swapIn(client, workload, { ...mark, by: "bob@two" }, (original) => dev(original, "shop/web:2"));
  const held = await client.get(deployments, "web", "shop");
  expect(originalTemplate(held)).toEqual(template);
  expect(held["spec"].template.spec.volumes).toHaveLength(2);
  await giveBack(client, workload, "web");
  expect((await client.get(deployments, "web", "shop"))["spec"]).toEqual(deployment()["spec"]);
});

test("whenever a process dies on the way, the service or its dev container is there, and the service can be had back", async () => {
  for (let writes = 0; writes < 6; writes++) {
    const api = createMemoryApi();
    const client = new KubeClient(api);
    await client.create(deployments, deployment());
    await client.create(leases, {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: "kws-dev-web", namespace: "shop" },
    });
    const before = content(await client.get(deployments, "web", "shop"));
    const dying = dyingAfter(writes, api);
    const died = await swapIn(dying, workload, mark, dev)
      .then(() => giveBack(dying, workload, "web"))
      .then(() => false)
      .catch((error: Error) => error.message === "killed");
    const { spec } = await client.get(deployments, "web", "shop");
    const isDev = spec.template.metadata.labels["kws.dev/dev"] === "web";
    expect(spec.replicas).toBe(isDev ? 1 : 3);
    await giveBack(client, workload, "web");
    expect(content(await client.get(deployments, "web", "shop"))).toEqual(before);
    expect(await client.find(leases, "kws-dev-web", "shop")).toBeUndefined();
    expect(died).toBe(writes < 4);
  }
});

test("what scales the service makes no second dev container, and scales again afterwards", async () => {
  const client = new KubeClient(createMemoryApi());
  await client.create(deployments, deployment());
  const scaler = (name: string, target: string) => ({
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name, namespace: "shop" },
    spec: { scaleTargetRef: { kind: "Deployment", name: target }, minReplicas: 2, maxReplicas: 5 },
  });
  await client.create(horizontalPodAutoscalers, scaler("web", "web"));
  await client.create(horizontalPodAutoscalers, scaler("other", "other"));
  const read = async (name: string) => (await client.get(horizontalPodAutoscalers, name, "shop"))["spec"];
  await swapIn(client, workload, mark, dev);
  expect(await read("web")).toMatchObject({ minReplicas: 1, maxReplicas: 1 });
  expect(await read("other")).toMatchObject({ minReplicas: 2, maxReplicas: 5 });
  await swapIn(client, workload, mark, dev);
  await giveBack(client, workload, "web");
  expect(await read("web")).toEqual(scaler("web", "web").spec);
});

test("a write that its controller was quicker with is made again", async () => {
  const api = createMemoryApi();
  let conflicts = 2;
  const client = new KubeClient({
    request(request) {
      if (request.method === "PUT" && conflicts-- > 0) throw apiError("Conflict", "modified");
      return api.request(request);
    },
  });
  await client.create(deployments, deployment());
  await swapIn(client, workload, mark, dev);
  expect(readMark(await client.get(deployments, "web", "shop"))).toEqual(mark);
});

test("a StatefulSet keeps the claims of replicas that go, also where its policy removes them", async () => {
  const client = new KubeClient(createMemoryApi());
  const policy = { whenScaled: "Delete", whenDeleted: "Retain" };
  await client.create(statefulSets, {
    ...deployment(),
    kind: "StatefulSet",
    spec: { ...deployment()["spec"], persistentVolumeClaimRetentionPolicy: policy },
  });
  const set = { ...workload, kind: "StatefulSet" } as const;
  await swapIn(client, set, mark, dev);
  const read = async () => (await client.get(statefulSets, "web", "shop"))["spec"];
  expect((await read()).persistentVolumeClaimRetentionPolicy.whenScaled).toBe("Retain");
  await giveBack(client, set, "web");
  expect((await read()).persistentVolumeClaimRetentionPolicy).toEqual(policy);
});
