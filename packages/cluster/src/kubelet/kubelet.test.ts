import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { silent } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, events, nodes, pods } from "@kws/kube/resources";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ImageStore } from "../images/image.ts";
import { createServiceAccount, startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import { startKubelet, type Kubelet } from "./index.ts";
import type { ContainerStatus, Pod, PodContainer } from "./pod.ts";
import { createProcessRuntime, type ProcessRuntime } from "./testing/process-runtime.ts";

let dir: string;
let api: TestServer;
let client: KubeClient;
let runtime: ProcessRuntime;
let kubelet: Kubelet;
let stored: Set<string>;
const stop = new AbortController();

const images: ImageStore = {
  find: async (reference) =>
    stored.has(reference)
      ? { reference, digest: `sha256:${"a".repeat(64)}`, config: {}, layers: [], size: 1 }
      : undefined,
  list: async () => [],
  remove: async () => {},
};

function start(): Promise<Kubelet> {
  return startKubelet({
    client,
    runtime,
    images,
    pullImage: async (reference) => {
      throw new UserError(`${reference}: registry.example.com does not have it (404)`, { code: "not-found" });
    },
    resolveUser: async () => ({ uid: 1000, gid: 1000, additionalGids: [], home: "/" }),
    node: { name: "node-1", address: "10.244.0.1" },
    dataDir: dir,
    apiServerAddress: { host: "10.96.0.1", port: 443 },
    logger: silent,
    now: Date.now,
    signal: stop.signal,
  });
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kubelet-"));
  api = await startTestServer();
  client = api.client;
  await createServiceAccount(client, "default");
  runtime = createProcessRuntime(dir);
  stored = new Set(["app:1"]);
  kubelet = await start();
});

afterEach(async () => {
  await kubelet.close();
  await runtime.dispose();
  await api.close();
  await rm(dir, { recursive: true, force: true });
});

function shell(name: string, script: string, more: Partial<PodContainer> = {}): PodContainer {
  return { name, image: "app:1", command: ["sh", "-c", script], ...more };
}

async function create(
  name: string,
  spec: Partial<Pod["spec"]> & { containers: PodContainer[] },
): Promise<void> {
  await client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: { nodeName: "node-1", terminationGracePeriodSeconds: 2, ...spec },
  });
}

const get = (name: string) => client.get<Pod>(pods, name, "default");

async function until(name: string, check: (pod: Pod) => boolean): Promise<Pod> {
  return vi.waitFor(
    async () => {
      const pod = await get(name);
      if (!check(pod)) throw new Error(JSON.stringify(pod.status));
      return pod;
    },
    { timeout: 8000, interval: 10 },
  );
}

const isReady = (pod: Pod) =>
  pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
const first = (pod: Pod): ContainerStatus | undefined => pod.status?.containerStatuses?.[0];

async function logsOf(name: string, container?: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await kubelet.streams.logs(await get(name), { container })) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

test("the node is registered and Ready", async () => {
  const node = await client.get(nodes, "node-1");
  expect(node["status"].conditions).toContainEqual(
    expect.objectContaining({ type: "Ready", status: "True" }),
  );
  expect(node["status"].capacity.pods).toBe("110");
});

test("a pod runs, is Ready and shows its address, state and events", async () => {
  await create("web", {
    containers: [
      shell("app", "echo hello $POD_IP; exec sleep 60", {
        env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
      }),
    ],
  });
  const pod = await until("web", isReady);
  expect(pod.status).toMatchObject({ phase: "Running", hostIP: "10.244.0.1", qosClass: "BestEffort" });
  expect(pod.status?.podIPs).toEqual([{ ip: pod.status?.podIP }]);
  expect(first(pod)).toMatchObject({ ready: true, started: true, restartCount: 0, image: "app:1" });
  expect(first(pod)?.containerID).toMatch(/^kws:\/\/[0-9a-f]{64}$/);
  await vi.waitFor(async () => expect(await logsOf("web")).toBe(`hello ${pod.status?.podIP}\n`));
  await vi.waitFor(async () => {
    const list = await client.list(events, "default");
    const reasons = list.items.map((event) => event["reason"]);
    expect(reasons).toEqual(expect.arrayContaining(["Pulled", "Created", "Started"]));
  });
});

test("init containers run in order, before the others, and beside a sidecar", async () => {
  const volumeMounts = [{ name: "shared", mountPath: "/shared" }];
  await create("init", {
    restartPolicy: "Never",
    initContainers: [
      shell("one", "echo 1 >> shared/log", { volumeMounts }),
      shell("side", "trap 'echo side >> shared/log; exit 0' TERM; while :; do sleep 0.05; done", {
        restartPolicy: "Always",
        volumeMounts,
      }),
      shell("two", "echo 2 >> shared/log", { volumeMounts }),
    ],
    containers: [
      shell("app", "cat shared/log", { volumeMounts: [{ name: "shared", mountPath: "/shared" }] }),
    ],
    volumes: [{ name: "shared", emptyDir: {} }],
  });
  const pod = await until("init", ({ status }) => status?.phase === "Succeeded");
  expect(await logsOf("init", "app")).toBe("1\n2\n");
  expect(pod.status?.initContainerStatuses?.map(({ state }) => state.terminated?.reason)).toEqual([
    "Completed",
    "Completed",
    "Completed",
  ]);
  expect(pod.status?.conditions).toContainEqual(
    expect.objectContaining({ type: "Initialized", status: "True", reason: "PodCompleted" }),
  );
});

test("a container that keeps failing restarts at once, then backs off with the documented words", async () => {
  await create("crash", { containers: [shell("app", "echo gone > termination-log; exit 3")] });
  const pod = await until("crash", (pod) => first(pod)?.state.waiting?.reason === "CrashLoopBackOff");
  expect(first(pod)).toMatchObject({ restartCount: 1, ready: false, started: false });
  expect(first(pod)?.lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error", message: "gone\n" });
  expect(first(pod)?.state.waiting?.message).toBe(
    `back-off 10s restarting failed container=app pod=crash_default(${pod.metadata.uid})`,
  );
  expect(pod.status?.phase).toBe("Running");
});

test("a command that does not exist is a StartError that backs off", async () => {
  await create("absent", {
    restartPolicy: "Never",
    containers: [{ name: "app", image: "app:1", command: ["/no/such"] }],
  });
  const pod = await until("absent", ({ status }) => status?.phase === "Failed");
  expect(first(pod)?.state.terminated).toMatchObject({ exitCode: 128, reason: "StartError" });
});

test("a missing image is ErrImagePull, then ImagePullBackOff, and starts once it is stored", async () => {
  await create("pull", { containers: [{ ...shell("app", "exec sleep 60"), image: "later:1" }] });
  await until("pull", (pod) => first(pod)?.state.waiting?.reason === "ErrImagePull");
  const pod = await until("pull", (pod) => first(pod)?.state.waiting?.reason === "ImagePullBackOff");
  expect(first(pod)?.state.waiting?.message).toContain("registry.example.com does not have it (404)");
  stored.add("later:1");
  expect(first(await until("pull", isReady))?.restartCount).toBe(0);
});

test("a pod waits for its ConfigMap, starts when it appears and sees its changes", async () => {
  await create("config", {
    containers: [shell("app", "exec sleep 60", { volumeMounts: [{ name: "config", mountPath: "/config" }] })],
    volumes: [{ name: "config", configMap: { name: "settings" } }],
  });
  await vi.waitFor(async () => {
    const list = await client.list(events, "default");
    expect(list.items.find((event) => event["reason"] === "FailedMount")?.["message"]).toBe(
      'MountVolume.SetUp failed for volume "config" : configmap "settings" not found',
    );
  });
  expect(first(await get("config"))?.state.waiting?.reason).toBe("ContainerCreating");
  const settings: KubeObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "default" },
    data: { color: "red" },
  };
  await client.create(configMaps, settings);
  await until("config", isReady);
  const read = async () => {
    const session = await kubelet.streams.exec(await get("config"), {
      command: ["cat", "config/color"],
      stdin: false,
      stdout: true,
      stderr: true,
      tty: false,
    });
    let text = "";
    session.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    expect(await session.exit).toBe(0);
    return text;
  };
  expect(await read()).toBe("red");
  await client.patch(configMaps, "settings", "default", "merge", { data: { color: "blue" } });
  await vi.waitFor(async () => expect(await read()).toBe("blue"), { timeout: 3000 });
});

test("readiness follows an HTTP probe without waiting a whole period, and port-forward reaches the pod", async () => {
  const server = "require('http').createServer((q,s)=>s.end('ok')).listen(8080, process.env.POD_IP)";
  await create("probe", {
    containers: [
      {
        name: "app",
        image: "app:1",
        command: [process.execPath, "-e", server],
        env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
        ports: [{ name: "http", containerPort: 8080 }],
        readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 10 },
      },
    ],
  });
  const pod = await until("probe", isReady);
  const connection = await kubelet.streams.portForward(pod, 8080);
  connection.write("GET / HTTP/1.0\r\n\r\n");
  let text = "";
  for await (const chunk of connection) text += String(chunk);
  expect(text).toContain("ok");
});

test("a failing liveness probe restarts the container", async () => {
  await create("live", {
    containers: [
      shell("app", "exec sleep 60", {
        livenessProbe: { exec: { command: ["false"] }, periodSeconds: 1, failureThreshold: 1 },
      }),
    ],
  });
  const pod = await until("live", (pod) => (first(pod)?.restartCount ?? 0) > 0);
  expect(first(pod)?.lastState.terminated?.exitCode).toBe(143);
});

test("a deleted pod runs preStop, ends and disappears with its files", async () => {
  const marker = join(dir, "stopped");
  await create("bye", {
    containers: [
      shell("app", "exec sleep 60", {
        lifecycle: { preStop: { exec: { command: ["touch", marker] } } },
      }),
    ],
  });
  const { metadata } = await until("bye", isReady);
  await client.delete(pods, "bye", "default", { gracePeriodSeconds: 5 });
  await vi.waitFor(async () => expect(await client.find(pods, "bye", "default")).toBeUndefined(), {
    timeout: 5000,
  });
  await vi.waitFor(async () => expect(await runtime.listPodSandboxes()).toEqual([]));
  const { existsSync } = await import("node:fs");
  expect(existsSync(marker)).toBe(true);
  await vi.waitFor(() => expect(existsSync(join(dir, "pods", metadata.uid ?? ""))).toBe(false));
});

test("the next kubelet adopts running containers and removes pods that are gone", async () => {
  await create("stay", { containers: [shell("app", "echo once; exec sleep 60")] });
  await create("leave", { containers: [shell("app", "exec sleep 60")] });
  const before = await until("stay", isReady);
  await until("leave", isReady);
  await kubelet.close();
  await client.delete(pods, "leave", "default", { gracePeriodSeconds: 0 });
  kubelet = await start();
  await vi.waitFor(async () => {
    expect((await runtime.listPodSandboxes()).map(({ name }) => name)).toEqual(["stay"]);
  });
  const after = await get("stay");
  expect(first(after)?.containerID).toBe(first(before)?.containerID);
  expect(runtime.started.length).toBe(2);
  expect(await logsOf("stay")).toBe("once\n");
});

test("a pod past its active deadline fails with DeadlineExceeded", async () => {
  await create("late", { activeDeadlineSeconds: 1, containers: [shell("app", "exec sleep 60")] });
  const pod = await until("late", ({ status }) => status?.phase === "Failed");
  expect(pod.status).toMatchObject({ reason: "DeadlineExceeded" });
});
