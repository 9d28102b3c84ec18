import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { silent } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import { SharedInformers } from "@kws/kube/informer";
import type { KubeObject } from "@kws/kube/object";
import { deployments, events, horizontalPodAutoscalers, pods } from "@kws/kube/resources";
import { createServiceAccount, startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import { Standstill } from "../standstill.ts";
import { createContext, type Controller } from "./context.ts";
import { horizontalPodAutoscalerController, type Autoscaler } from "./hpa.ts";

let api: TestServer;
let stop: AbortController;
let controller: Controller;
let informers: SharedInformers;
let time: number;
/** Cores that every pod uses. */
let uses: string;

beforeAll(async () => {
  api = await startTestServer();
  await createServiceAccount(api.client, "default");
  stop = new AbortController();
  const through = api.server.transport();
  const client = new KubeClient({
    request: async (request) => {
      if (!request.path.startsWith("/apis/metrics.k8s.io/v1beta1/")) return through.request(request);
      const { items } = await api.client.list(pods, "default");
      const metrics = items.map(({ metadata: { name } }) => ({
        metadata: { name },
        timestamp: new Date(time).toISOString(),
        window: "15.000s",
        containers: [{ name: "main", usage: { cpu: uses, memory: "64Mi" } }],
      }));
      const answer = new TextEncoder().encode(JSON.stringify({ kind: "PodMetricsList", items: metrics }));
      return {
        status: 200,
        headers: { "content-type": "application/json" },
        // oxlint-disable-next-line typescript/require-await
        body: (async function* () {
          yield answer;
        })(),
      };
    },
  });
  informers = new SharedInformers(client, { logger: silent, signal: stop.signal });
  const context = createContext({
    client,
    informers,
    logger: silent,
    now: () => time,
    signal: stop.signal,
    rootCa: "",
    sign: api.server.sign,
    volumesDir: "/nowhere",
    standstill: new Standstill(),
  });
  controller = horizontalPodAutoscalerController(context);
});
afterAll(async () => {
  stop.abort();
  await api.close();
});
beforeEach(() => {
  time = Date.now();
  uses = "1";
});

const requests = { cpu: "1", memory: "128Mi" };
const container = { name: "main", image: "web:1", resources: { requests } };

/** A Deployment of so many replicas, as its controllers would leave it, and an autoscaler of it. */
async function create(name: string, replicas: number, spec: object): Promise<void> {
  const labels = { app: name };
  await api.client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container] } },
    },
  });
  const ago = new Date(time - 3_600_000).toISOString().replace(/\.\d+/, "");
  for (let index = 0; index < replicas; index++) {
    const pod: KubeObject = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `${name}-${index}`, namespace: "default", labels },
      spec: { containers: [container] },
    };
    await api.client.create(pods, pod);
    const conditions = [{ type: "Ready", status: "True", lastTransitionTime: ago }];
    const patch = { status: { phase: "Running", startTime: ago, conditions } };
    await api.client.patch(pods, `${name}-${index}`, "default", "merge", patch, { subresource: "status" });
  }
  await api.client.create(horizontalPodAutoscalers, {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name, namespace: "default" },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
      maxReplicas: 10,
      ...spec,
    },
  });
  await informers.synced();
  await vi.waitFor(() => {
    expect(informers.of(horizontalPodAutoscalers).get(name, "default")).toBeDefined();
    const ready = informers
      .of(pods)
      .list()
      .filter(({ metadata, status }) => metadata.labels?.["app"] === name && status?.phase === "Running");
    expect(ready).toHaveLength(replicas);
  }, 20_000);
}

async function reconcile(
  name: string,
): Promise<{ replicas: number; status: NonNullable<Autoscaler["status"]> }> {
  await controller.reconcile({ namespace: "default", name });
  const { status = {} } = await api.client.get<Autoscaler>(horizontalPodAutoscalers, name, "default");
  const scaled = await api.client.get(deployments, name, "default");
  return { replicas: scaled["spec"].replicas as number, status };
}

const conditionsOf = ({ conditions = [] }: NonNullable<Autoscaler["status"]>) =>
  Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]));

test("replicas grow with what the pods use, and the status and an Event say why", async () => {
  await create("grow", 2, {
    metrics: [
      {
        type: "Resource",
        resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } },
      },
    ],
  });
  const { replicas, status } = await reconcile("grow");
  expect(replicas).toBe(4);
  expect(status).toMatchObject({
    currentReplicas: 2,
    desiredReplicas: 4,
    currentMetrics: [
      {
        type: "Resource",
        resource: { name: "cpu", current: { averageUtilization: 100, averageValue: "1" } },
      },
    ],
  });
  expect(conditionsOf(status)).toEqual({
    AbleToScale: "True SucceededRescale",
    ScalingActive: "True ValidMetricFound",
    ScalingLimited: "False DesiredWithinRange",
  });
  await vi.waitFor(async () => {
    const { items } = await api.client.list(events, "default");
    expect(items.map((event) => event["message"])).toContain(
      "New size: 4; reason: cpu resource utilization (percentage of request) above target",
    );
  }, 20_000);
});

test("they shrink once nothing of the window asks for more", async () => {
  uses = "100m";
  await create("shrink", 3, {
    metrics: [
      { type: "Resource", resource: { name: "cpu", target: { type: "AverageValue", averageValue: "500m" } } },
    ],
  });
  const first = await reconcile("shrink");
  expect([first.replicas, conditionsOf(first.status)["AbleToScale"]]).toEqual([
    3,
    "True ScaleDownStabilized",
  ]);
  time += 301_000;
  expect((await reconcile("shrink")).replicas).toBe(1);
});

test("the highest of several metrics counts, and one that cannot be read keeps the rest from taking pods away", async () => {
  const cpu = (averageUtilization: number) => ({
    type: "Resource",
    resource: { name: "cpu", target: { type: "Utilization", averageUtilization } },
  });
  const memory = {
    type: "ContainerResource",
    containerResource: {
      name: "memory",
      container: "main",
      target: { type: "AverageValue", averageValue: "16Mi" },
    },
  };
  await create("several", 1, { metrics: [cpu(100), memory] });
  expect((await reconcile("several")).replicas).toBe(4);
  const external = {
    type: "External",
    external: { metric: { name: "queue" }, target: { type: "Value", value: "1" } },
  };
  const patch = {
    spec: { metrics: [cpu(200), external], behavior: { scaleDown: { stabilizationWindowSeconds: 0 } } },
  };
  await api.client.patch(horizontalPodAutoscalers, "several", "default", "merge", patch);
  await vi.waitFor(() => {
    const seen = informers.of<Autoscaler>(horizontalPodAutoscalers).get("several", "default");
    expect(seen?.spec.metrics?.[1]?.type).toBe("External");
  }, 20_000);
  const { replicas, status } = await reconcile("several");
  expect(replicas).toBe(4);
  const active = status.conditions?.find(({ type }) => type === "ScalingActive");
  expect(active).toMatchObject({ status: "False", reason: "FailedGetExternalMetric" });
  expect(active?.message).toContain("no external metrics API (external.metrics.k8s.io) registered");
});

test("too many and too few replicas are put right without a measurement, and none at all is left alone", async () => {
  await create("limits", 1, { minReplicas: 3 });
  expect((await reconcile("limits")).replicas).toBe(3);
  for (const [replicas, after, reason] of [
    [20, 10, "True SucceededRescale"],
    [0, 0, "True SucceededGetScale"],
  ] as const) {
    await api.client.patch(deployments, "limits", "default", "merge", { spec: { replicas } });
    const seen = await reconcile("limits");
    expect([seen.replicas, conditionsOf(seen.status)["AbleToScale"]]).toEqual([after, reason]);
  }
  const { status } = await reconcile("limits");
  expect(conditionsOf(status)["ScalingActive"]).toBe("False ScalingDisabled");
});

test("a target that is not there is told", async () => {
  await create("lost", 1, { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "other" } });
  const { status } = await reconcile("lost");
  const [condition] = status.conditions ?? [];
  expect(condition).toMatchObject({ type: "AbleToScale", status: "False", reason: "FailedGetScale" });
  expect(condition?.message).toContain('"other" not found');
});
