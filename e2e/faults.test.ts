/** What goes wrong around a cluster: processes that are killed, full disks, taken ports, broken files, impatient people. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { configMaps, cronJobs, jobs, pods } from "@kws/kube/resources";
import type { KubeObject } from "@kws/kube/object";
import { newKws, type Kws } from "./kws.ts";

let kws: Kws;
beforeEach(async () => {
  kws = await newKws();
});
afterEach(() => kws[Symbol.asyncDispose]());

async function start(...options: string[]): Promise<void> {
  const result = await kws.run(["cluster", "start", ...options]);
  expect(result.code, result.stderr).toBe(0);
}

const pod = (name: string, command: string[], spec: object = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default" },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "main", image: "kws.local/node:24", command }],
    ...spec,
  },
});

const configMap = (name: string, text: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data: { text },
});

/** The pod once it meets the condition; asks anew where the API was away for a moment. */
async function until(name: string, condition: (pod: KubeObject) => boolean): Promise<KubeObject> {
  let found: KubeObject | undefined;
  await vi.waitFor(
    async () => {
      found = await (await kws.client()).get(pods, name, "default");
      expect(condition(found), JSON.stringify(found["status"])).toBe(true);
    },
    { timeout: 30_000, interval: 100 },
  );
  if (found === undefined) throw new Error(`${name} is not there`);
  return found;
}
const runs = (object: KubeObject): boolean =>
  object["status"].containerStatuses?.[0].state.running !== undefined;
const restarts = (object: KubeObject): number => object["status"].containerStatuses?.[0].restartCount;

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe("ESRCH"); // One that ended with its parent.
  }
};

test("a killed agent is started anew, with its pods, while the API keeps its address", async () => {
  await start();
  await (await kws.client()).create(pods, pod("back", ["sleep", "600"]));
  await until("back", runs);
  const before = await kws.cluster();
  const { pid } = JSON.parse(await readFile(join(kws.clusterFolder(), "runtime/agent.json"), "utf8")) as {
    pid: number;
  };
  kill(pid);
  const after = await until("back", (object) => runs(object) && restarts(object) === 1);
  expect(after["status"].containerStatuses[0].lastState.terminated.exitCode).toBe(137);
  expect(await kws.cluster()).toMatchObject({ state: "running", pid: before.pid, apiUrl: before.apiUrl });
});

test("a killed daemon is told as that, and so are its containers that go on", async () => {
  await start();
  await (await kws.client()).create(pods, pod("on", ["sleep", "600"]));
  await until("on", runs);
  const { pid } = await kws.cluster();
  kill(pid);
  await vi.waitFor(() => expect(existsSync(`/proc/${pid}/exe`)).toBe(false));
  const status = await kws.run(["cluster", "status"]);
  expect(status.code).toBe(3);
  expect(status.stdout).toContain("killed");
  expect(status.stdout).toContain("containers run on");
  expect((await kws.run(["cluster", "stop"])).code).toBe(0);
  expect(kws.processes()).toEqual([]);
});

test("after a restart of the machine the cluster comes back with its pods and its ports", async () => {
  await start();
  await (await kws.client()).create(pods, pod("back", ["sleep", "600"]));
  await until("back", runs);
  const before = await kws.cluster();
  kws.processes().forEach(kill);
  await vi.waitFor(() => expect(kws.processes()).toEqual([]));
  // The number of a process that is gone may be somebody else's after a restart.
  const file = join(kws.clusterFolder(), "daemon.json");
  const state = JSON.parse(await readFile(file, "utf8")) as { daemon: { pid: number; startTicks: number } };
  await writeFile(file, JSON.stringify({ ...state, daemon: { pid: process.pid, startTicks: 1 } }));
  const status = await kws.run(["cluster", "status"]);
  expect(status.stdout).toContain("the machine was restarted");
  await start();
  const after = await until("back", (object) => runs(object) && restarts(object) === 1);
  expect(after.metadata.creationTimestamp).toBeDefined();
  expect(await kws.cluster()).toMatchObject({ apiUrl: before.apiUrl, ingressPort: before.ingressPort });
});

test("stopping gives containers their signal and their time, and starting brings the same pods back", async () => {
  await start();
  const client = await kws.client();
  const program = (last: string): string[] => [
    "node",
    "-e",
    `process.on("SIGTERM", () => setTimeout(() => { console.log("${last}"); process.exit(0); }, 500)); setInterval(() => {}, 1000); console.log("up");`,
  ];
  const grace = { terminationGracePeriodSeconds: 20 };
  await client.create(pods, pod("polite", program("goodbye"), grace));
  const job = (name: string, command: string[]): KubeObject => ({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "default" },
    spec: {
      template: {
        spec: {
          ...grace,
          restartPolicy: "Never",
          containers: [{ name: "main", image: "kws.local/node:24", command }],
        },
      },
    },
  });
  await client.create(jobs, job("done", ["true"]));
  await client.create(jobs, job("long", program("interrupted")));
  await client.create(cronJobs, {
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "minutely", namespace: "default" },
    spec: {
      schedule: "* * * * *",
      concurrencyPolicy: "Forbid",
      jobTemplate: { spec: job("", ["true"])["spec"] },
    },
  });
  const before = await until("polite", runs);
  await vi.waitFor(async () => {
    const list = (await client.list(pods, "default")).items;
    const owned = (name: string): KubeObject | undefined =>
      list.find(({ metadata }) => metadata.labels?.["job-name"] === name);
    expect(owned("done")?.["status"].phase).toBe("Succeeded");
    expect(owned("long")?.["status"].phase).toBe("Running");
  }, 20_000);

  expect((await kws.run(["cluster", "stop"])).code).toBe(0);
  await start();

  const after = await until("polite", runs);
  expect(after.metadata.uid).toBe(before.metadata.uid);
  expect(after["status"].containerStatuses[0]).toMatchObject({
    restartCount: 1,
    lastState: { terminated: { exitCode: 0 } },
  });
  const again = await kws.client();
  await vi.waitFor(async () => {
    const list = (await again.list(pods, "default")).items;
    const phases = (name: string): string[] =>
      list
        .filter(({ metadata }) => metadata.labels?.["job-name"] === name)
        .map(({ status }): string => status?.phase)
        .toSorted((a, b) => a.localeCompare(b));
    // What was interrupted is begun again, although it ended with 0; what was done is not.
    expect(phases("long")).toEqual(["Failed", "Running"]);
    expect(phases("done")).toEqual(["Succeeded"]);
  }, 20_000);
});

test("a start that is given up leaves nothing that runs, and the next one works", async () => {
  const first = kws.spawn(["cluster", "start"]);
  const agent = join(kws.clusterFolder(), "runtime/agent.json");
  await vi.waitFor(() => expect(existsSync(agent)).toBe(true), { timeout: 10_000, interval: 5 });
  first.kill("SIGINT");
  const [code] = (await once(first, "exit")) as [number | null];
  expect(code).not.toBe(0);
  await vi.waitFor(() => expect(kws.processes()).toEqual([]), 10_000);
  await start();
  expect((await kws.cluster()).state).toBe("running");
});

test("starts at the same time make one cluster, and a start waits for a stop to end", async () => {
  const starts = await Promise.all([1, 2, 3].map(() => kws.run(["cluster", "start"])));
  expect(starts.map(({ code }) => code)).toEqual([0, 0, 0]);
  const before = await kws.cluster();
  await (
    await kws.client()
  ).create(pods, pod("slow", ["sleep", "600"], { terminationGracePeriodSeconds: 2 }));
  await until("slow", runs);
  const stopping = kws.run(["cluster", "stop"]);
  await vi.waitFor(() => expect(existsSync(join(kws.clusterFolder(), "start.lock"))).toBe(true));
  const starting = await kws.run(["cluster", "start"]);
  expect((await stopping).code).toBe(0);
  expect(starting.code, starting.stderr).toBe(0);
  const after = await kws.cluster();
  expect(after.state).toBe("running");
  expect(after.pid).not.toBe(before.pid);
});

test("taken ports are avoided, and said", async () => {
  const holder = await listen(0);
  const port = (holder.address() as { port: number }).port;
  const started = await kws.run(["cluster", "start", "--ingress-port", String(port)]);
  expect(started.code, started.stderr).toBe(0);
  const first = await kws.cluster();
  expect(first.ingressPort).toBeGreaterThan(port);
  expect(started.stdout + started.stderr).toContain(`port ${port} is taken`);
  const again = await kws.run(["cluster", "start", "--ingress-port", "9999"]);
  expect(again.code).toBe(0);
  expect(again.stderr).toContain(`9999 is not applied: Ingress hosts are served on ${first.ingressPort}`);
  expect(again.stderr).toContain("kws cluster stop default");
  expect((await kws.run(["cluster", "start", "--ingress-port", "99999"])).code).toBe(2);
  await kws.run(["cluster", "stop"]);
  const other = await listen(Number(new URL(first.apiUrl).port));
  await start("--ingress-port", String(port));
  const second = await kws.cluster();
  // Where it was last, rather than where a free port is found first.
  expect(second.ingressPort).toBe(first.ingressPort);
  expect(second.apiUrl).not.toBe(first.apiUrl);
  expect((await (await kws.client()).list(pods)).items).toEqual([]);
  holder.close();
  other.close();
});

async function listen(port: number): Promise<Server> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test("files that are broken are named, and nothing is deleted", async () => {
  await start();
  await (await kws.client()).create(configMaps, configMap("kept", "this"));
  await kws.run(["cluster", "stop"]);
  const folder = kws.clusterFolder();

  const state = join(folder, "daemon.json");
  await start();
  await writeFile(state, "{ half of");
  // Its process is found all the same.
  expect((await kws.run(["cluster", "stop"])).code).toBe(0);
  expect(kws.processes()).toEqual([]);
  for (const text of ["{ half of", "null", '{"daemon":7}']) {
    await writeFile(state, text);
    const { code, stderr } = await kws.run(["cluster", "start"]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(state);
    expect(stderr).toContain("Remove the file");
    expect(await readFile(state, "utf8")).toBe(text);
  }
  await rm(state);

  const name = (await readdir(join(folder, "apiserver"))).find((file) => /\.(db|sqlite3?)$/.test(file)) ?? "";
  const storage = join(folder, "apiserver", name);
  await copyFile(storage, `${storage}.copy`);
  await writeFile(storage, "this is no database".repeat(1000));
  const refused = await kws.run(["cluster", "start"]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain(storage);
  expect(await readFile(storage, "utf8")).toContain("this is no database");
  expect(kws.processes()).toEqual([]);

  await copyFile(`${storage}.copy`, storage);
  await start();
  const kept = await (await kws.client()).get(configMaps, "kept", "default");
  expect(kept["data"]).toEqual({ text: "this" });
});

test("an image with a broken layer is named in the pod's status", async () => {
  await start();
  const client = await kws.client();
  await client.create(pods, pod("first", ["sleep", "600"]));
  await until("first", runs);
  await client.delete(pods, "first", "default");
  const images = join(kws.home, ".local/share/kws/images");
  const index = JSON.parse(await readFile(join(images, "index.json"), "utf8")) as {
    manifests: { digest: string }[];
  };
  const digest = index.manifests[0]?.digest ?? "";
  await writeFile(join(images, "blobs/sha256", digest.replace("sha256:", "")), "{ broken");
  await client.create(pods, pod("second", ["sleep", "600"]));
  const second = await until(
    "second",
    (object) => object["status"]?.containerStatuses?.[0].state.waiting?.message !== undefined,
  );
  expect(second["status"].containerStatuses[0].state.waiting.message).toContain(
    digest.replace("sha256:", ""),
  );
  expect((await kws.cluster()).state).toBe("running");
});

test.runIf(process.getuid?.() === 0)("a full disk refuses writes and loses none", async () => {
  const disk = join(kws.home, ".local/share/kws/clusters");
  await mkdir(disk, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", disk]);
  try {
    await start();
    const filler = join(disk, "filler");
    await expect(writeFile(filler, Buffer.alloc(64 << 20))).rejects.toThrow("ENOSPC");
    const client = await kws.client();
    const acknowledged: string[] = [];
    const text = "x".repeat(100_000);
    const writing = async (): Promise<void> => {
      for (let count = 0; count < 500; count++) {
        await client.create(configMaps, configMap(`c${count}`, text));
        acknowledged.push(`c${count}`);
      }
    };
    await expect(writing()).rejects.toThrow(/disk|space/);
    expect((await client.get(configMaps, "kube-root-ca.crt", "default")).metadata.name).toBe(
      "kube-root-ca.crt",
    );
    await rm(filler);
    await client.create(configMaps, configMap("after", "x"));
    kill((await kws.cluster()).pid);
    await start();
    const names = (await (await kws.client()).list(configMaps, "default")).items.map(
      ({ metadata }) => metadata.name,
    );
    expect(names).toEqual(expect.arrayContaining([...acknowledged, "after"]));
  } finally {
    await kws.run(["cluster", "reset", "--yes"]);
    execFileSync("umount", ["-l", disk]);
  }
});

test.runIf(process.getuid?.() === 0)("a build on a full disk names the disk and what frees it", async () => {
  const disk = join(kws.home, ".local/share/kws");
  await mkdir(disk, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m", "tmpfs", disk]);
  try {
    await start();
    const { code, stderr } = await kws.run(["stack", "start", "shop", "mailer", "--file", "examples/shop"]);
    expect(code).toBe(1);
    expect(stderr).toContain(`the disk of ${disk}`);
    expect(stderr).toContain("kws image remove");
  } finally {
    await kws.run(["cluster", "reset", "--yes"]);
    execFileSync("umount", ["-l", disk]);
  }
});
