/** The embedded cluster: start, idle cost, pods, writes and large lists. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { connect, product, type Api } from "./product.ts";

const idleSeconds = 20;

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const first = await time(() => kws.kws("cluster", "start"));
  const starts = await repeat(5, async () => {
    await kws.kws("cluster", "stop");
    return time(() => kws.kws("cluster", "start"));
  });
  // The shell's base image, for the pods below.
  await kws.kws("image", "pull", "kws.local/node:24");
  const status = JSON.parse(await kws.kws("cluster", "status", "-o", "json")) as {
    kubeconfigPath: string;
    pid: number;
    memoryBytes: number;
  };
  const api = await connect(status.kubeconfigPath);
  try {
    const idle = await idleCpu(status.pid);
    return [
      summarize("cluster start, nothing there yet", "ms", [first]),
      summarize("cluster start to ready", "ms", starts, { atMost: 1000 }),
      summarize("idle CPU of the daemon", "percent of a core", [idle], { atMost: 1 }),
      summarize("idle memory of daemon and agent", "MB", [status.memoryBytes / 1e6], { atMost: 200 }),
      summarize("pod create to Running", "ms", await podStarts(api), { atMost: 150 }),
      summarize("ConfigMap creates", "per second", await creates(api), { atLeast: 2000 }),
      summarize("list of 5,000 Pods", "ms", await listPods(api), { atMost: 300 }),
    ];
  } finally {
    api.close();
  }
}

/** User and system time of the process over a quiet while; proc_pid_stat(5), 100 ticks a second. */
async function idleCpu(pid: number): Promise<number> {
  const ticks = async (): Promise<number> => {
    const stat = await readFile(join("/proc", String(pid), "stat"), "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const before = await ticks();
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1000));
  return ((await ticks()) - before) / idleSeconds;
}

async function podStarts(api: Api): Promise<number[]> {
  const pods = "/api/v1/namespaces/default/pods";
  return repeat(10, async () => {
    const name = `bench-${Math.random().toString(36).slice(2, 10)}`;
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ name: "main", image: "kws.local/node:24", command: ["sleep", "60"] }],
      },
    };
    const took = await time(async () => {
      const running = api.watch(
        `${pods}?watch=true&fieldSelector=metadata.name=${name}`,
        ({ object }) => object["status"]?.phase === "Running",
      );
      await api.call("POST", pods, pod);
      await running;
    });
    await api.call("DELETE", `${pods}/${name}?gracePeriodSeconds=0`);
    return took;
  });
}

async function creates(api: Api): Promise<number[]> {
  const total = 5000;
  return repeat(3, async () => {
    const namespace = `bench-${Math.random().toString(36).slice(2, 10)}`;
    await api.call("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < total) {
        const name = `c${next++}`;
        const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { key: "value" } };
        await api.call("POST", `/api/v1/namespaces/${namespace}/configmaps`, body);
      }
    };
    const took = await time(() => Promise.all(Array.from({ length: 32 }, worker)));
    await api.call("DELETE", `/api/v1/namespaces/${namespace}`);
    return (total / took) * 1000;
  });
}

/** Pods that no node takes, so that only the API is measured. */
async function listPods(api: Api): Promise<number[]> {
  const namespace = "bench-list";
  await api.call("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < 5000) {
      await api.call("POST", pods, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: `p${next++}` },
        spec: {
          schedulerName: "nobody",
          containers: [{ name: "main", image: "kws.local/node:24", command: ["sleep", "60"] }],
        },
      });
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  const times = await repeat(5, () => time(() => api.call("GET", pods)));
  await api.call("DELETE", `/api/v1/namespaces/${namespace}`);
  return times;
}
