/** Clusters as a whole: two at once, a killed daemon, and nothing left behind. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { configMaps, deployments, pods } from "@kws/kube/resources";
import type { KubeObject } from "@kws/kube/object";
import { newKws, type Kws } from "./kws.ts";

let kws: Kws;
beforeEach(async () => {
  kws = await newKws();
});
afterEach(() => kws[Symbol.asyncDispose]());

async function start(name = "default"): Promise<void> {
  const result = await kws.run(["cluster", "start", name]);
  expect(result.code, result.stderr).toBe(0);
}

const sleeper = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default" },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "main", image: "kws.local/node:24", command: ["sleep", "600"] }],
  },
});

async function running(name: string, cluster?: string): Promise<KubeObject> {
  const client = await kws.client(cluster);
  const events = client.watch(pods, "default", {
    fieldSelector: `metadata.name=${name}`,
    sendInitialEvents: true,
    signal: AbortSignal.timeout(30_000),
  });
  for await (const { object } of events) if (object["status"]?.phase === "Running") return object;
  throw new Error(`the watch ended before ${name} ran`);
}

test("two clusters run side by side and do not see each other", async () => {
  await Promise.all([start("one"), start("two")]);
  const [one, two] = await Promise.all([kws.cluster("one"), kws.cluster("two")]);
  expect(one.apiUrl).not.toBe(two.apiUrl);
  expect(one.ingressPort).not.toBe(two.ingressPort);
  const [clientOne, clientTwo] = await Promise.all([kws.client("one"), kws.client("two")]);
  // Both ask at once for the base image, which nobody has made yet.
  await Promise.all([
    clientOne.create(pods, sleeper("only-in-one")),
    clientTwo.create(pods, sleeper("in-two")),
  ]);
  await Promise.all([running("only-in-one", "one"), running("in-two", "two")]);
  expect(await clientTwo.find(pods, "only-in-one", "default")).toBeUndefined();
  await kws.run(["cluster", "reset", "one", "--yes"]);
  expect((await kws.cluster("two")).state).toBe("running");
  expect((await clientTwo.list(pods)).items.map(({ metadata }) => metadata.name)).toEqual(["in-two"]);
  expect((await running("in-two", "two"))["status"].containerStatuses[0].restartCount).toBe(0);
});

test("a daemon killed in the middle of writes loses none that it acknowledged", async () => {
  await start();
  const client = await kws.client();
  const { pid } = await kws.cluster();
  const acknowledged: string[] = [];
  const writer = async (lane: number): Promise<void> => {
    for (let count = 0; ; count++) {
      const name = `w${lane}-${count}`;
      await client.create(configMaps, {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name, namespace: "default" },
        data: { count: String(count) },
      });
      acknowledged.push(name);
      if (acknowledged.length === 200) process.kill(pid, "SIGKILL");
    }
  };
  await Promise.allSettled(Array.from({ length: 8 }, (_, lane) => writer(lane)));
  expect(acknowledged.length).toBeGreaterThanOrEqual(200);
  await start();
  const after = await (await kws.client()).list(configMaps, "default");
  const names = new Set(after.items.map(({ metadata }) => metadata.name));
  expect(acknowledged.filter((name) => !names.has(name))).toEqual([]);
});

test("containers survive a killed daemon, and a rollout that it was in goes on", async () => {
  await start();
  const client = await kws.client();
  await client.create(pods, sleeper("survivor"));
  const before = await running("survivor");
  const template = (text: string): object => ({
    metadata: { labels: { app: "rolling" } },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: "kws.local/node:24",
          command: ["sleep", "600"],
          env: [{ name: "VERSION", value: text }],
        },
      ],
    },
  });
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "rolling", namespace: "default" },
    spec: { replicas: 3, selector: { matchLabels: { app: "rolling" } }, template: template("1") },
  };
  await client.create(deployments, deployment);
  await client.patch(deployments, "rolling", "default", "merge", { spec: { template: template("2") } });
  process.kill((await kws.cluster()).pid, "SIGKILL");
  await start();
  const again = await kws.client();
  const events = again.watch(deployments, "default", {
    fieldSelector: "metadata.name=rolling",
    sendInitialEvents: true,
    signal: AbortSignal.timeout(60_000),
  });
  for await (const { object } of events) {
    const { status } = object;
    if (status?.updatedReplicas === 3 && status?.availableReplicas === 3 && status?.replicas === 3) break;
  }
  const survivor = await again.get(pods, "survivor", "default");
  expect(survivor.metadata.uid).toBe(before.metadata.uid);
  expect(survivor["status"].containerStatuses[0].containerID).toBe(
    before["status"].containerStatuses[0].containerID,
  );
  expect(survivor["status"].containerStatuses[0].restartCount).toBe(0);
});

test("after reset nothing is left: no process, mount, namespace, interface or file", async () => {
  const interfaces = (): string => execFileSync("ip", ["-o", "link"], { encoding: "utf8" });
  const mounts = (): string[] =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(kws.home));
  const sockets = (): string[] =>
    readdirSync(tmpdir())
      .filter((name) => /^kws-\d+$/.test(name))
      .flatMap((name) => readdirSync(join(tmpdir(), name)));
  const groups = (): string[] =>
    ["", "memory", "cpu"]
      .map((controller) => join("/sys/fs/cgroup", controller))
      .filter((folder) => existsSync(folder))
      .flatMap((folder) =>
        readdirSync(folder, { recursive: false, encoding: "utf8" }).filter((name) => name.startsWith("kws-")),
      );
  const before = { interfaces: interfaces(), sockets: sockets(), groups: groups() };
  await start();
  await (await kws.client()).create(pods, sleeper("left"));
  await running("left");
  expect(kws.processes().length).toBeGreaterThan(0);
  expect((await kws.run(["cluster", "reset", "--yes"])).code).toBe(0);
  expect(kws.processes()).toEqual([]);
  expect(mounts()).toEqual([]);
  expect(interfaces()).toBe(before.interfaces);
  expect(groups().filter((name) => !before.groups.includes(name))).toEqual([]);
  expect(sockets().filter((name) => !before.sockets.includes(name))).toEqual([]);
  expect(existsSync(kws.clusterFolder())).toBe(false);
});
