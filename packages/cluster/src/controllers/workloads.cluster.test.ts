import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createLogger } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import { SharedInformers } from "@kws/kube/informer";
import type { KubeObject } from "@kws/kube/object";
import { readinessOf } from "@kws/kube/readiness";
import * as resources from "@kws/kube/resources";
import { startApiServer, type ApiServer } from "../apiserver/server.ts";
import { startScheduler } from "../scheduler/index.ts";
import { startControllers } from "./index.ts";

const wait = { timeout: 10_000, interval: 20 };
const stop = new AbortController();
let dir: string;
let server: ApiServer;
let client: KubeClient;
const log: string[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "controllers-"));
  const logger = createLogger((line) => log.push(line), "warn");
  const now = Date.now;
  server = await startApiServer({ dataDir: join(dir, "api"), logger, now, streams: () => undefined });
  client = new KubeClient(server.transport());
  const { signal } = stop;
  const informers = new SharedInformers(client, { logger, signal });
  const volumesDir = join(dir, "volumes");
  await startControllers({
    client,
    informers,
    logger,
    now,
    signal,
    rootCa: server.caCertificate,
    sign: server.sign,
    volumesDir,
  });
  await startScheduler({ client, informers, logger, now, signal });
  await client.create(resources.nodes, { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  const room = { cpu: "8", memory: "8Gi", pods: "110" };
  const status = { capacity: room, allocatable: room, conditions: [{ type: "Ready", status: "True" }] };
  await client.patch(resources.nodes, "n1", undefined, "merge", { status }, { subresource: "status" });
  playKubelet(informers);
});

afterAll(async () => {
  stop.abort();
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

let lastAddress = 1;

/** Pods on a node run at once, those named `*-ends` succeed, and those that are deleted go. */
function playKubelet(informers: SharedInformers): void {
  const handle = async (pod: KubeObject): Promise<void> => {
    const { name, namespace, deletionTimestamp } = pod.metadata;
    if (pod["spec"].nodeName === undefined) return;
    if (deletionTimestamp !== undefined) {
      await client.delete(resources.pods, name, namespace, { gracePeriodSeconds: 0 });
      return;
    }
    if (pod["status"]?.phase !== "Pending") return;
    const ends = pod["spec"].restartPolicy !== "Always";
    const failing = pod["spec"].containers[0].command?.[0] === "false";
    const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const terminated = { exitCode: failing ? 1 : 0, finishedAt: time };
    const status = {
      phase: ends ? (failing ? "Failed" : "Succeeded") : "Running",
      podIP: `10.244.0.${(lastAddress += 1)}`,
      conditions: [{ type: "Ready", status: ends ? "False" : "True", lastTransitionTime: time }],
      ...(ends
        ? {
            containerStatuses: [
              { name: "main", image: "x", imageID: "", ready: false, restartCount: 0, state: { terminated } },
            ],
          }
        : {}),
    };
    await client.patch(resources.pods, name, namespace, "strategic", { status }, { subresource: "status" });
  };
  const ignoreGone = (error: unknown): void => {
    log.push(String(error));
  };
  const on = (pod: KubeObject): void => void handle(pod).catch(ignoreGone);
  informers.of(resources.pods).subscribe({ add: on, update: on });
}

async function namespace(name: string): Promise<string> {
  await client.create(resources.namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  await vi.waitFor(() => client.get(resources.serviceAccounts, "default", name), wait);
  return name;
}

const template = (labels: Record<string, string>, extra: object = {}): object => ({
  metadata: { labels },
  spec: {
    containers: [{ name: "main", image: "app:1", ports: [{ name: "http", containerPort: 8080 }] }],
    ...extra,
  },
});

async function ready(resource: (typeof resources)["pods"], name: string, ns: string): Promise<KubeObject> {
  return vi.waitFor(async () => {
    const object = await client.get(resource, name, ns);
    expect(readinessOf(object)).toMatchObject({ status: "Current" });
    return object;
  }, wait);
}

describe("a namespace", () => {
  test("gets its account and certificate, and is emptied when deleted", async () => {
    const ns = await namespace("empty-me");
    await vi.waitFor(async () => {
      const map = await client.get(resources.configMaps, "kube-root-ca.crt", ns);
      expect(map["data"]["ca.crt"]).toBe(server.caCertificate);
    }, wait);
    await client.create(resources.deployments, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: ns },
      spec: { replicas: 2, selector: { matchLabels: { app: "web" } }, template: template({ app: "web" }) },
    });
    await ready(resources.deployments, "web", ns);
    await client.delete(resources.namespaces, ns);
    await vi.waitFor(async () => expect(await client.find(resources.namespaces, ns)).toBeUndefined(), wait);
    expect((await client.list(resources.pods)).items.filter((pod) => pod.metadata.namespace === ns)).toEqual(
      [],
    );
  });
});

describe("workloads", () => {
  test("a Deployment behind a Service has endpoints, rolls, and takes its sets and pods with it", async () => {
    const ns = await namespace("rolls");
    await client.create(resources.services, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: ns },
      spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
    });
    await client.create(resources.deployments, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: ns },
      spec: { replicas: 3, selector: { matchLabels: { app: "web" } }, template: template({ app: "web" }) },
    });
    await ready(resources.deployments, "web", ns);
    await vi.waitFor(async () => {
      const { items } = await client.list(resources.endpointSlices, ns);
      expect(items).toHaveLength(1);
      expect(items[0]?.["endpoints"]).toHaveLength(3);
      expect(items[0]?.["ports"]).toMatchObject([{ port: 8080, protocol: "TCP" }]);
      const endpoints = await client.get(resources.endpoints, "web", ns);
      expect(endpoints["subsets"][0].addresses).toHaveLength(3);
    }, wait);
    const patch = { spec: { template: { metadata: { annotations: { restarted: "yes" } } } } };
    await client.patch(resources.deployments, "web", ns, "merge", patch);
    await ready(resources.deployments, "web", ns);
    await vi.waitFor(async () => {
      const { items } = await client.list(resources.pods, ns);
      expect(items.map((pod) => pod.metadata.annotations?.["restarted"])).toEqual(["yes", "yes", "yes"]);
    }, wait);
    await client.delete(resources.deployments, "web", ns, { propagationPolicy: "Foreground" });
    await vi.waitFor(async () => {
      expect(await client.find(resources.deployments, "web", ns)).toBeUndefined();
      expect((await client.list(resources.replicaSets, ns)).items).toEqual([]);
      expect((await client.list(resources.pods, ns)).items).toEqual([]);
    }, wait);
  });

  test("an orphaned ReplicaSet stays when its Deployment goes and is adopted by the next one", async () => {
    const ns = await namespace("orphans");
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: ns },
      spec: { replicas: 1, selector: { matchLabels: { app: "web" } }, template: template({ app: "web" }) },
    };
    await client.create(resources.deployments, deployment);
    await ready(resources.deployments, "web", ns);
    const before = (await client.list(resources.pods, ns)).items.map(({ metadata }) => metadata.uid);
    await client.delete(resources.deployments, "web", ns, { propagationPolicy: "Orphan" });
    await vi.waitFor(
      async () => expect(await client.find(resources.deployments, "web", ns)).toBeUndefined(),
      wait,
    );
    await client.create(resources.deployments, deployment);
    await ready(resources.deployments, "web", ns);
    expect((await client.list(resources.pods, ns)).items.map(({ metadata }) => metadata.uid)).toEqual(before);
  });

  test("a StatefulSet has ordered names and volumes that outlive its pods", async () => {
    const ns = await namespace("stateful");
    const claim = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
    await client.create(resources.statefulSets, {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: { name: "db", namespace: ns },
      spec: {
        replicas: 2,
        serviceName: "db",
        selector: { matchLabels: { app: "db" } },
        template: template({ app: "db" }),
        volumeClaimTemplates: [{ metadata: { name: "data" }, spec: claim }],
      },
    });
    await ready(resources.statefulSets, "db", ns);
    const names = (await client.list(resources.pods, ns)).items.map(({ metadata }) => metadata.name);
    expect(names.sort()).toEqual(["db-0", "db-1"]);
    const bound = await client.get(resources.persistentVolumeClaims, "data-db-0", ns);
    expect(bound["status"]).toMatchObject({ phase: "Bound", capacity: { storage: "1Gi" } });
    const volume = await client.get(resources.persistentVolumes, bound["spec"].volumeName as string);
    expect(existsSync(volume["spec"].hostPath.path as string)).toBe(true);
    const patch = { spec: { template: { metadata: { annotations: { restarted: "yes" } } } } };
    await client.patch(resources.statefulSets, "db", ns, "merge", patch);
    await vi.waitFor(async () => {
      const { items } = await client.list(resources.pods, ns);
      expect(items.map((pod) => pod.metadata.annotations?.["restarted"])).toEqual(["yes", "yes"]);
    }, wait);
    await ready(resources.statefulSets, "db", ns);
    await client.delete(resources.namespaces, ns);
    await vi.waitFor(async () => {
      expect(await client.find(resources.persistentVolumes, volume.metadata.name)).toBeUndefined();
      expect(existsSync(volume["spec"].hostPath.path as string)).toBe(false);
    }, wait);
  });

  test("a StatefulSet with a partition updates only the ordinals above it", async () => {
    const ns = await namespace("partition");
    await client.create(resources.statefulSets, {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: { name: "db", namespace: ns },
      spec: {
        replicas: 2,
        podManagementPolicy: "Parallel",
        updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 1 } },
        selector: { matchLabels: { app: "db" } },
        template: template({ app: "db" }),
      },
    });
    await ready(resources.statefulSets, "db", ns);
    const annotations = { restarted: "yes" };
    const patch = { spec: { template: { metadata: { annotations } } } };
    await client.patch(resources.statefulSets, "db", ns, "merge", patch);
    await vi.waitFor(async () => {
      const second = await client.get(resources.pods, "db-1", ns);
      expect(second.metadata.annotations).toMatchObject(annotations);
      const { status } = await client.get(resources.statefulSets, "db", ns);
      expect(status).toMatchObject({ updatedReplicas: 1, currentReplicas: 1, readyReplicas: 2 });
    }, wait);
    const old = await client.get(resources.pods, "db-0", ns);
    await client.delete(resources.pods, "db-0", ns, { gracePeriodSeconds: 0 });
    const first = await vi.waitFor(async () => {
      const pod = await client.get(resources.pods, "db-0", ns);
      expect(pod.metadata.uid).not.toBe(old.metadata.uid);
      return pod;
    }, wait);
    expect(first.metadata.annotations ?? {}).not.toMatchObject(annotations);
  });

  test("a DaemonSet runs one pod on each node", async () => {
    const ns = await namespace("daemons");
    await client.create(resources.daemonSets, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "agent", namespace: ns },
      spec: { selector: { matchLabels: { app: "agent" } }, template: template({ app: "agent" }) },
    });
    await ready(resources.daemonSets, "agent", ns);
    const { items } = await client.list(resources.pods, ns);
    expect(items.map((pod) => pod["spec"].nodeName as string)).toEqual(["n1"]);
  });

  test("an Indexed Job completes every index once", async () => {
    const ns = await namespace("jobs");
    await client.create(resources.jobs, {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: "count", namespace: ns },
      spec: {
        completions: 3,
        parallelism: 2,
        completionMode: "Indexed",
        template: template({}, { restartPolicy: "Never" }),
      },
    });
    const job = await ready(resources.jobs, "count", ns);
    expect(job["status"]).toMatchObject({ succeeded: 3, completedIndexes: "0-2" });
    expect((job["status"].conditions as { type: string }[]).map(({ type }) => type)).toEqual([
      "SuccessCriteriaMet",
      "Complete",
    ]);
  });

  test("a Job that may not fail fails with the reason, and its pods lose their finalizer", async () => {
    const ns = await namespace("fails");
    const containers = [{ name: "main", image: "app:1", command: ["false"] }];
    await client.create(resources.jobs, {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: "bad", namespace: ns },
      spec: { backoffLimit: 0, template: template({}, { restartPolicy: "Never", containers }) },
    });
    await vi.waitFor(async () => {
      const { status } = await client.get(resources.jobs, "bad", ns);
      expect(status.failed).toBe(1);
      expect(status.conditions).toContainEqual(
        expect.objectContaining({ type: "Failed", status: "True", reason: "BackoffLimitExceeded" }),
      );
      const { items } = await client.list(resources.pods, ns);
      expect(items.map((pod) => pod.metadata.finalizers ?? [])).toEqual([[]]);
    }, wait);
  });
});

test("no controller complained about anything but races", () => {
  expect(log.filter((line) => line.includes('"stack"'))).toEqual([]);
});
