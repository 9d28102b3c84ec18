/** One cluster is kept, brought back over itself and beside itself, and survives what is killed meanwhile. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { KubeClient } from "@kws/kube/client";
import { connect } from "@kws/kube/kubeconfig";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, persistentVolumeClaims, persistentVolumes, pods } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { askForSnapshot } from "../control.ts";
import { clusterFolder, clusterStatus, resetCluster, startCluster, stopCluster } from "../lifecycle.ts";
import { controlSocket } from "../state.ts";
import { listSnapshots, removeSnapshot } from "./folder.ts";
import { restoreCluster, takeSnapshot } from "./snapshots.ts";

let dir: TempDir;
let home: string;
const [here, beside] = ["here", "beside"];
const at = (name: string) => ({ name, home, env: {}, ingressPort: 18_080 });
const take = (snapshot: string, archive?: string) =>
  takeSnapshot({
    ...at(here),
    snapshot,
    now: Date.now(),
    keep: archive === undefined,
    ...(archive && { archive }),
  });

async function onCluster<T>(name: string, work: (client: KubeClient) => Promise<T>): Promise<T> {
  const info = await clusterStatus(at(name));
  const wire = await connect({ path: info?.kubeconfigPath ?? "" });
  try {
    return await work(new KubeClient(wire));
  } finally {
    wire.close();
  }
}

const isReady = (pod: KubeObject): boolean =>
  (pod.status?.conditions as { type: string; status: string }[] | undefined)?.some(
    ({ type, status }) => type === "Ready" && status === "True",
  ) === true;

/** Each run of the pod adds a line to a file of its claim and to one of its emptyDir. */
const ready = (name: string) =>
  vi.waitFor(
    () =>
      onCluster(name, async (client) => {
        const pod = await client.get(pods, "db", "default");
        if (!isReady(pod)) throw new Error(JSON.stringify(pod.status));
        return pod;
      }),
    { timeout: 30_000, interval: 200 },
  );

async function linesOf(name: string): Promise<{ claim: string[]; scratch: string[] }> {
  const pod = await ready(name);
  const { path } = await onCluster(name, async (client) => {
    const claim = await client.get(persistentVolumeClaims, "data", "default");
    return (await client.get(persistentVolumes, String(claim["spec"].volumeName)))["spec"].hostPath;
  });
  expect(path, "data is the cluster's own").toContain(clusterFolder(at(name)));
  const lines = async (file: string) => (await readFile(file, "utf8")).trim().split("\n");
  const scratch = join(clusterFolder(at(name)), "pods", pod.metadata.uid ?? "", "volumes/scratch/log");
  return { claim: await lines(join(path, "log")), scratch: await lines(scratch) };
}

beforeAll(async () => {
  dir = await tempDir("kws-snapshots");
  home = join(dir.path, "data");
  await startCluster(at(here));
  const script = "for f in /data/log /scratch/log; do hostname >> $f; done; exec sleep 1000";
  await onCluster(here, async (client) => {
    await client.create(persistentVolumeClaims, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace: "default" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    });
    await client.create(pods, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "db", namespace: "default" },
      spec: {
        terminationGracePeriodSeconds: 0,
        volumes: [
          { name: "data", persistentVolumeClaim: { claimName: "data" } },
          { name: "scratch", emptyDir: {} },
        ],
        containers: [
          {
            name: "db",
            image: `kws.local/node:${process.versions.node.split(".")[0]}`,
            command: ["sh", "-c", script],
            readinessProbe: { exec: { command: ["test", "-s", "/scratch/log"] }, periodSeconds: 1 },
            livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1, failureThreshold: 1 },
            volumeMounts: [
              { name: "data", mountPath: "/data" },
              { name: "scratch", mountPath: "/scratch" },
            ],
          },
        ],
      },
    });
  });
  await ready(here);
}, 60_000);
afterAll(async () => {
  await resetCluster(at(here));
  await resetCluster(at(beside));
  await dir[Symbol.asyncDispose]();
});

const marker: KubeObject = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "later", namespace: "default" },
};

test("a snapshot of a running cluster leaves it as it is, and says what it holds", async () => {
  const snapshot = await take("seeded");
  expect(snapshot).toMatchObject({ name: "seeded", cluster: here, volumes: 2, images: 1 });
  expect(snapshot.pausedMs).toBeGreaterThan(0);
  expect(await listSnapshots(home)).toEqual([snapshot]);
  const pod = await ready(here);
  expect(pod.status.containerStatuses[0].restartCount, "no probe has failed").toBe(0);
  await expect(take("seeded")).rejects.toMatchObject({ code: "conflict" });
});

test("what was changed since is gone after a restore, and watches begin anew", async () => {
  const before = await onCluster(here, (client) => client.create(configMaps, marker));
  const { claim } = await linesOf(here);
  await restoreCluster({ ...at(here), from: { snapshot: "seeded" } });
  expect(await onCluster(here, (client) => client.find(configMaps, "later", "default"))).toBeUndefined();
  const again = await onCluster(here, (client) => client.create(configMaps, marker));
  expect(Number(again.metadata.resourceVersion)).toBeGreaterThan(Number(before.metadata.resourceVersion));
  const lines = await linesOf(here);
  expect(lines.claim, "the pod has run once more").toEqual([...claim, claim[0]]);
  expect(lines.scratch).toEqual(lines.claim);
});

test("an archive becomes another cluster, beside the first and with keys of its own", async () => {
  const archive = join(dir.path, "seeded.tar.zst");
  await take("exported", archive);
  expect(
    (await listSnapshots(home)).map(({ name }) => name),
    "the file alone was wanted",
  ).toEqual(["seeded"]);
  const { claim } = await linesOf(here);
  const { cluster } = await restoreCluster({ ...at(beside), from: { archive } });
  expect(cluster).toMatchObject({ name: beside, state: "running" });
  expect((await linesOf(beside)).claim).toEqual([...claim, claim[0]]);
  const keyOf = (name: string) => readFile(join(clusterFolder(at(name)), "apiserver/pki/ca.key"), "utf8");
  expect(await keyOf(beside)).not.toBe(await keyOf(here));
  await resetCluster(at(beside));
});

test("containers go on when the command that takes a snapshot is given up, and nothing is left", async () => {
  const folder = join(dir.path, "abandoned");
  const stop = new AbortController();
  const asking = askForSnapshot(controlSocket(clusterFolder(at(here))), folder, stop.signal);
  await vi.waitFor(() => expect(existsSync(folder)).toBe(true), { interval: 1 });
  stop.abort();
  await expect(asking).rejects.toThrow(/abort/);
  // One that follows waits for the end of the first, and finds the containers running.
  expect((await take("after")).volumes).toBe(2);
  expect(await removeSnapshot(home, "after")).toBe(true);
  expect(await readdir(join(home, "snapshots"))).toEqual(["seeded"]);
});

test("a restore that cannot be done changes nothing", async () => {
  const broken = join(home, "snapshots/broken");
  await mkdir(broken);
  const [seeded] = await listSnapshots(home);
  await writeFile(join(broken, "snapshot.json"), JSON.stringify(seeded));
  await writeFile(join(broken, "objects.jsonl"), "nonsense\n");
  await expect(restoreCluster({ ...at(here), from: { snapshot: "broken" } })).rejects.toMatchObject({
    code: "config",
  });
  expect(await onCluster(here, (client) => client.find(configMaps, "later", "default"))).toBeDefined();
  await expect(restoreCluster({ ...at(beside), from: { snapshot: "broken" } })).rejects.toMatchObject({
    code: "config",
  });
  expect(existsSync(clusterFolder(at(beside))), "no cluster that was not there before").toBe(false);
});

test("a restore whose process is killed is the old state or, at the next start, the new one", async () => {
  const program = `
    import { restoreCluster } from ${JSON.stringify(new URL("./snapshots.ts", import.meta.url).href)};
    await restoreCluster({ name: "here", home: process.argv[1], env: {}, from: { snapshot: "seeded" },
      onProgress: (text) => console.log(text) });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program, home], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    // What is to replace the state is whole by then.
    if (text.includes("starting it")) child.kill("SIGKILL");
  });
  await new Promise((resolve) => child.once("close", resolve));
  await startCluster(at(here));
  expect(await onCluster(here, (client) => client.find(configMaps, "later", "default"))).toBeUndefined();
  expect(existsSync(join(clusterFolder(at(here)), "restored"))).toBe(false);
});

test("a cluster that does not run is kept too", async () => {
  await stopCluster(at(here));
  expect(await take("stopped")).toMatchObject({ volumes: 2, pausedMs: 0 });
  await expect(takeSnapshot({ ...at("nowhere"), snapshot: "x", keep: true, now: 0 })).rejects.toMatchObject({
    code: "not-found",
  });
});
