import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { silent } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { events, nodes, pods, priorityClasses } from "@kws/kube/resources";
import { createServiceAccount, startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import type { Pod } from "../controllers/pods.ts";
import { fitMessage, reasonsAgainst, type Cluster } from "./filters.ts";
import { startScheduler } from "./index.ts";
import { nodeInfo, podRequests, type Node } from "./node-info.ts";
import { findPreemption } from "./preemption.ts";
import { rank } from "./scores.ts";

function node(
  name: string,
  options: { labels?: Record<string, string>; spec?: object; cpu?: string } = {},
): Node {
  const { labels = {}, spec = {}, cpu = "2" } = options;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
    spec,
    status: { allocatable: { cpu, memory: "4Gi", pods: "110" } },
  };
}

function pod(name: string, spec: object = {}, labels: Record<string, string> = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels },
    spec: {
      containers: [{ name: "main", image: "main:1", resources: { requests: { cpu: "500m" } } }],
      ...spec,
    },
  };
}

function cluster(placements: [Node, Pod[]][]): Cluster {
  return {
    nodes: placements.map(([one, onIt]) => nodeInfo(one, onIt)),
    labelsOfNamespace: () => ({}),
    volumeConflict: () => undefined,
  };
}

function verdict(one: Pod, on: Cluster): string[][] {
  return on.nodes.map((info) => reasonsAgainst(one, info, on));
}

describe("filters", () => {
  test("say what a node has too little of", () => {
    const state = cluster([[node("a", { cpu: "1" }), [pod("x"), pod("y")]]]);
    expect(fitMessage(verdict(pod("z"), state))).toBe("0/1 nodes are available: 1 Insufficient cpu.");
  });

  test("count the largest init container where it asks for more than the rest", () => {
    const initContainers = [{ name: "init", resources: { requests: { cpu: "2", memory: "10Mi" } } }];
    expect(podRequests(pod("x", { initContainers })).get("cpu")).toBe(2);
  });

  test("respect taints unless they are tolerated", () => {
    const tainted = node("a", { spec: { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] } });
    const state = cluster([[tainted, []]]);
    expect(verdict(pod("x"), state)).toEqual([["node(s) had untolerated taint {gpu: yes}"]]);
    expect(verdict(pod("x", { tolerations: [{ key: "gpu", operator: "Exists" }] }), state)).toEqual([[]]);
  });

  test("keep pods with anti-affinity on different nodes", () => {
    const term = { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "db" } } };
    const affinity = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    const first = pod("db-0", { affinity }, { app: "db" });
    const state = cluster([
      [node("a"), [first]],
      [node("b"), []],
    ]);
    expect(verdict(pod("db-1", { affinity }, { app: "db" }), state).map((reasons) => reasons.length)).toEqual(
      [1, 0],
    );
  });

  test("let the first pod of a group that wants to be together start anywhere", () => {
    const term = { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "web" } } };
    const affinity = { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    const state = cluster([[node("a"), []]]);
    expect(verdict(pod("web-0", { affinity }, { app: "web" }), state)).toEqual([[]]);
    expect(verdict(pod("web-0", { affinity }, { app: "other" }), state)).toEqual([
      ["node(s) didn't match pod affinity rules"],
    ]);
  });

  test("hold the skew between zones", () => {
    const constraint = {
      maxSkew: 1,
      topologyKey: "zone",
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: { matchLabels: { app: "web" } },
    };
    const web = (name: string): Pod => pod(name, { topologySpreadConstraints: [constraint] }, { app: "web" });
    const state = cluster([
      [node("a", { labels: { zone: "1" } }), [web("w1")]],
      [node("b", { labels: { zone: "2" } }), []],
    ]);
    expect(verdict(web("w2"), state).map((reasons) => reasons.length)).toEqual([1, 0]);
  });

  test("refuse a host port that is taken", () => {
    const containers = [{ name: "main", ports: [{ containerPort: 80, hostPort: 80 }] }];
    const state = cluster([[node("a"), [pod("x", { containers })]]]);
    expect(verdict(pod("y", { containers }), state)).toEqual([
      ["node(s) didn't have free ports for the requested pod ports"],
    ]);
  });
});

test("the emptier of two nodes is preferred", () => {
  const state = cluster([
    [node("a"), [pod("x")]],
    [node("b"), []],
  ]);
  expect(rank(pod("y"), state.nodes, state)[0]?.node.metadata.name).toBe("b");
});

describe("preemption", () => {
  const names = (found: ReturnType<typeof findPreemption>): string[] | undefined =>
    found?.victims.map(({ metadata }) => metadata.name);

  test("ends as few pods as make room, the least important ones", () => {
    const onIt = [pod("low", { priority: 1 }), pod("lower", { priority: 0 }), pod("high", { priority: 9 })];
    const state = cluster([[node("a", { cpu: "1500m" }), onIt]]);
    expect(names(findPreemption(pod("x", { priority: 5 }), state, []))).toEqual(["lower"]);
    expect(findPreemption(pod("x", { priority: 0 }), state, [])).toBeUndefined();
    const polite = pod("x", { priority: 5, preemptionPolicy: "Never" });
    expect(findPreemption(polite, state, [])).toBeUndefined();
  });

  test("chooses the node where the victims matter least", () => {
    const state = cluster([
      [node("a", { cpu: "500m" }), [pod("middle", { priority: 3 })]],
      [node("b", { cpu: "500m" }), [pod("low", { priority: 1 })]],
    ]);
    expect(findPreemption(pod("x", { priority: 5 }), state, [])?.nodeName).toBe("b");
  });

  test("spares pods that a budget protects, where others can go", () => {
    const guarded = pod("guarded", { priority: 0 }, { app: "db" });
    const state = cluster([[node("a", { cpu: "1" }), [guarded, pod("plain", { priority: 1 })]]]);
    const budget = {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "db", namespace: "default" },
      spec: { selector: { matchLabels: { app: "db" } } },
      status: { disruptionsAllowed: 0 },
    };
    expect(names(findPreemption(pod("x", { priority: 5 }), state, [budget]))).toEqual(["plain"]);
  });
});

describe("the scheduler", () => {
  const stop = { controller: new AbortController() };
  let api: TestServer;
  let client: KubeClient;

  beforeEach(async () => {
    stop.controller = new AbortController();
    api = await startTestServer();
    client = api.client;
    await createServiceAccount(client, "default");
    await startScheduler({ client, logger: silent, now: Date.now, signal: stop.controller.signal });
  });
  afterEach(() => {
    stop.controller.abort();
    return api.close();
  });
  /** Pod and node of all pods that have one. */
  const placed = async (): Promise<[string, string][]> =>
    (await client.list(pods, "default")).items
      .filter(({ spec }) => spec.nodeName !== undefined)
      .map(({ metadata, spec }) => [metadata.name, spec.nodeName as string]);

  test("binds a pod to a node and says so", async () => {
    await client.create(nodes, node("a"));
    await client.create(pods, pod("web"));
    await vi.waitFor(async () => expect(await placed()).toEqual([["web", "a"]]));
    await vi.waitFor(async () => {
      const messages = (await client.list(events, "default")).items.map(
        (event) => event["message"] as string,
      );
      expect(messages).toContain("Successfully assigned default/web to a");
    });
  });

  test("explains a pod that fits nowhere and places it when a node comes", async () => {
    await client.create(pods, pod("web"));
    await vi.waitFor(async () => {
      const { status } = await client.get(pods, "web", "default");
      expect(status.conditions).toMatchObject([
        {
          type: "PodScheduled",
          status: "False",
          reason: "Unschedulable",
          message: "no nodes available to schedule pods",
        },
      ]);
    });
    await client.create(nodes, node("a"));
    await vi.waitFor(async () => expect(await placed()).toEqual([["web", "a"]]));
  });

  test("counts pods that it has just placed", async () => {
    await client.create(nodes, node("a", { cpu: "1" }));
    for (const name of ["p1", "p2", "p3"]) await client.create(pods, pod(name));
    await vi.waitFor(async () => {
      const { status } = await client.get(pods, "p3", "default");
      expect(status.conditions[0].message).toBe("0/1 nodes are available: 1 Insufficient cpu.");
    });
    expect((await placed()).map(([name]) => name)).toEqual(["p1", "p2"]);
    await client.delete(pods, "p1", "default", { gracePeriodSeconds: 0 });
    await vi.waitFor(async () => expect((await placed()).map(([name]) => name)).toEqual(["p2", "p3"]));
  });

  test("ends a less important pod for one that fits nowhere, and keeps its room", async () => {
    const priorityClass = (name: string, value: number) =>
      client.create(priorityClasses, {
        apiVersion: "scheduling.k8s.io/v1",
        kind: "PriorityClass",
        metadata: { name },
        value,
      });
    await Promise.all([priorityClass("low", 1), priorityClass("high", 10)]);
    await client.create(nodes, node("a", { cpu: "500m" }));
    await client.create(pods, pod("victim", { priorityClassName: "low" }));
    await vi.waitFor(async () => expect(await placed()).toEqual([["victim", "a"]]));
    await client.create(pods, pod("urgent", { priorityClassName: "high" }));
    await vi.waitFor(async () => {
      const { metadata, status } = await client.get(pods, "victim", "default");
      expect(metadata.deletionTimestamp).toBeDefined();
      expect(status.conditions).toContainEqual(
        expect.objectContaining({ type: "DisruptionTarget", reason: "PreemptionByScheduler" }),
      );
    });
    expect((await client.get(pods, "urgent", "default")).status.nominatedNodeName).toBe("a");
    await client.create(pods, pod("late", { priorityClassName: "low" }));
    // There is no kubelet: the test ends the victim.
    await client.delete(pods, "victim", "default", { gracePeriodSeconds: 0 });
    await vi.waitFor(async () => expect(await placed()).toEqual([["urgent", "a"]]));
  });
});
