/**
 * Synchronisation of 50,000 files with a folder of this machine, where the far side's commands are those of a container without
 * the way to it; and with a real container, through `kubectl exec`, as on any cluster that does not see the folder. Plain tar is
 * what the first transfer is measured against.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { isErrno } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { pods } from "@kws/kube/resources";
import { containerRemote, processRemote } from "@kws/platform/dev/sync/remote";
import { startSync } from "@kws/platform/dev/sync/sync";
import { embeddedProvider } from "@kws/platform/providers/embedded";
import { connect } from "@kws/platform/providers/provider";
import { locateTool } from "@kws/platform/tools/locate";
import { processorSeconds } from "./dev.ts";
import { type Measurement, repeat, summarize, time } from "./measure.ts";

const files = 50_000;
const perFolder = 50;

export async function measure(): Promise<Measurement[]> {
  await using folder = await tempDir("kws-bench-sync");
  const near = join(folder.path, "near");
  writeFiles(near);
  const tarred = join(folder.path, "tarred");
  await mkdir(tarred);
  const script = `tar -C "$1" -cf - . | tar -C "$2" -xpof -`;
  const tar = await time(() => promisify(execFile)("sh", ["-c", script, "sh", near, tarred]));
  const far = join(folder.path, "far");
  const started = performance.now();
  const sync = await startSync({
    local: near,
    folder: far,
    direction: "up",
    remote: {
      name: "folder",
      open: ([file, ...args]) => processRemote(file ?? "", args, { PATH: process.env["PATH"] }),
    },
  });
  const watching = performance.now() - started;
  await sync.ready;
  const first = performance.now() - started;
  let turn = 0;
  const one = await repeat(30, async () => {
    const path = pathOf((turn % 50) * 1000);
    const text = `export const turn = ${turn++};\n`;
    return time(async () => {
      writeFileSync(join(near, path), text);
      while (contentOf(join(far, path)) !== text) await new Promise(setImmediate);
    });
  });
  const idle = await repeat(3, async () => {
    const before = process.cpuUsage();
    const span = await time(() => new Promise((resolve) => setTimeout(resolve, 3000)));
    const used = process.cpuUsage(before);
    return (used.user + used.system) / 10 / span;
  });
  await sync.stop();
  return [
    summarize("sync: 50,000 files read and watched", "ms", [watching]),
    summarize("sync: first transfer of 50,000 files", "ms", [first]),
    summarize("tar | tar of the same files", "ms", [tar]),
    summarize("sync: one changed file among 50,000", "ms", one, { atMost: 100 }),
    summarize("sync: idle CPU of a watching session", "percent of a core", idle, { atMost: 1 }),
    summarize("sync: memory of the process", "MB", [process.memoryUsage().rss / 1e6]),
    ...(await throughExec(folder.path, near)),
  ];
}

function pathOf(count: number): string {
  return `${Math.floor(count / 1000)}/${Math.floor(count / perFolder)}/${count}.js`;
}

function writeFiles(folder: string): void {
  for (let count = 0; count < files; count++) {
    const path = join(folder, pathOf(count));
    if (count % perFolder === 0) mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `export const value = ${count};\n`.repeat(20));
  }
}

/** As `kws service up` has it: both ways. What is timed ends when the container has said that it has the file. */
async function throughExec(folder: string, near: string): Promise<Measurement[]> {
  const env = { PATH: process.env["PATH"], HOME: folder };
  const provider = embeddedProvider({ name: "sync", home: join(folder, "home"), env, ingressPort: 0 });
  await provider.start({});
  const connection = await connect(provider);
  try {
    const kubectl = (await locateTool("kubectl", { env: process.env, cache: join(folder, "cache") })).path;
    const [namespace, container] = ["default", "main"];
    const runs = { name: container, image: provider.nodeImage, command: ["sleep", "100000"] };
    await connection.client.create(pods, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "far", namespace },
      spec: { terminationGracePeriodSeconds: 0, containers: [runs] },
    });
    while ((await connection.client.get(pods, "far", namespace))["status"]?.phase !== "Running")
      await sleep(50);
    const { kubeconfig } = connection;
    let arrived: ((paths: string[]) => void) | undefined;
    const started = performance.now();
    const sync = await startSync({
      local: near,
      folder: "/tmp/far",
      direction: "both",
      remote: containerRemote({ kubeconfig, namespace, pod: () => "far", container, kubectl, env }),
      onBatch: ({ direction, paths }) => {
        if (direction === "up") arrived?.(paths);
      },
    });
    await sync.ready;
    const first = performance.now() - started;
    let turn = 0;
    const one = await repeat(30, async () => {
      const path = pathOf((turn % 50) * 1000);
      const { promise, resolve } = Promise.withResolvers<void>();
      arrived = (paths) => {
        if (paths.includes(path)) resolve();
      };
      return time(() => {
        writeFileSync(join(near, path), `export const there = ${turn++};\n`);
        return promise;
      });
    });
    await sleep(2000);
    // With kubectl, and with the cluster, which was started from here.
    const idle = await repeat(3, async () => {
      const before = await processorSeconds(process.pid);
      await sleep(10_000);
      return ((await processorSeconds(process.pid)) - before) * 10;
    });
    await sync.stop();
    return [
      summarize("sync through exec: first transfer of 50,000 files", "ms", [first]),
      summarize("sync through exec: one changed file among 50,000", "ms", one, { atMost: 100 }),
      summarize("sync through exec: idle CPU of a watching session", "percent of a core", idle, {
        atMost: 1,
      }),
    ];
  } finally {
    connection.close();
    await provider.reset({ foreign: false });
  }
}

/** tar removes a file before it writes the new one. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
