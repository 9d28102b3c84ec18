/** The embedded cluster: start, idle cost, pods, writes and large lists, each beside the least that Node or Linux can do. */
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { type Api, connect, type Product, product } from "./product.ts";

const run = promisify(execFile);
const idleSeconds = 20;
/** After a start, until what is done once is done. */
const settleSeconds = 5;
/** Made by the kubelet when it is first asked for; its version is that of the Node that runs kws. */
const image = `kws.local/node:${process.versions.node.split(".")[0]}`;
const peer = fileURLToPath(new URL("peer.ts", import.meta.url));

interface Status {
  kubeconfigPath: string;
  pid: number;
}

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const first = await time(() => kws.kws("cluster", "start"));
  const starts = await repeat(5, async () => {
    await kws.kws("cluster", "stop");
    return time(() => kws.kws("cluster", "start"));
  });
  const measurements = [
    summarize("cluster start to ready, nothing there yet", "ms", [first], { atMost: 1000 }),
    summarize("cluster start to ready", "ms", starts, { atMost: 1000 }),
  ];
  const { kubeconfigPath, pid } = await statusOf(kws);
  const folder = dirname(kubeconfigPath);
  const agentPid = Number(await readFile(join(folder, "runtime", "agent.pid"), "utf8"));
  await pause(settleSeconds * 1000);
  measurements.push(...(await idle({ daemon: pid, agent: agentPid })));
  const api = await connect(kubeconfigPath);
  try {
    // The first pod waits until its image has been assembled.
    await podStart(api);
    measurements.push(summarize("pod create to Running", "ms", await podStarts(api), { atMost: 150 }));
    measurements.push(summarize("unshare of the same namespaces", "ms", await namespaceStarts()));
    measurements.push(...(await creates(api, folder)));
    measurements.push(...(await lists(api)));
  } finally {
    api.close();
  }
  return measurements;
}

async function statusOf(kws: Product): Promise<Status> {
  return JSON.parse(await kws.kws("cluster", "status", "-o", "json")) as Status;
}

/** Processor time over a quiet while, and memory at its end, of both processes. */
async function idle(pids: Record<string, number>): Promise<Measurement[]> {
  const before = await processorSeconds(pids);
  await pause(idleSeconds * 1000);
  const after = await processorSeconds(pids);
  const busy = after.map((seconds, index) => ((seconds - (before[index] ?? 0)) / idleSeconds) * 100);
  const sizes = await Promise.all(Object.values(pids).map(memory));
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
  const names = Object.keys(pids);
  return [
    summarize("idle CPU of daemon and agent", "percent of a core", [sum(busy)], { atMost: 1 }),
    summarize("idle memory of daemon and agent", "MB", [sum(sizes.map(({ rss }) => rss))], { atMost: 200 }),
    ...names.map((name, index) => summarize(`idle memory of the ${name}`, "MB", [sizes[index]?.rss ?? 0])),
    summarize("the same, shared pages counted once (PSS)", "MB", [sum(sizes.map(({ pss }) => pss))]),
  ];
}

/**
 * Time that the threads of each have run. In nanoseconds of the scheduler (Documentation/scheduler/sched-stats.rst):
 * clock ticks miss whoever works for less than one.
 */
async function processorSeconds(pids: Record<string, number>): Promise<number[]> {
  return Promise.all(
    Object.values(pids).map(async (pid) => {
      const threads = await readdir(`/proc/${pid}/task`);
      const stats = await Promise.all(
        threads.map((tid) => readFile(`/proc/${pid}/task/${tid}/schedstat`, "utf8")),
      );
      return stats.reduce((total, stat) => total + Number(stat.split(" ")[0]) / 1e9, 0);
    }),
  );
}

/** Resident and proportional size in MB; proc_pid_smaps_rollup(5). */
async function memory(pid: number): Promise<{ rss: number; pss: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) * 1024) / 1e6;
  return { rss: field("Rss"), pss: field("Pss") };
}

const podsPath = "/api/v1/namespaces/default/pods";
const unique = (): string => `bench-${randomBytes(4).toString("hex")}`;

function pod(name: string, more: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "main", image, command: ["sleep", "600"] }],
      ...more,
    },
  };
}

async function podStart(api: Api): Promise<number> {
  const name = unique();
  const one = `watch=true&fieldSelector=metadata.name=${name}`;
  const took = await time(async () => {
    const running = api.watch(`${podsPath}?${one}`, ({ object }) => object["status"]?.phase === "Running");
    await api.call("POST", podsPath, pod(name));
    await running;
  });
  const gone = api.watch(`${podsPath}?${one}`, ({ type }) => type === "DELETED");
  await api.call("DELETE", `${podsPath}/${name}?gracePeriodSeconds=0`);
  await gone;
  return took;
}

const podStarts = (api: Api): Promise<number[]> => repeat(20, () => podStart(api));

/** What a pod costs at the least: a process in network, mount and PID namespaces of its own. */
function namespaceStarts(): Promise<number[]> {
  const words = ["--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--mount-proc", "true"];
  const rootless = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  return repeat(20, () => time(() => run("unshare", [...rootless, ...words])));
}

const createdAtOnce = 32;
const created = 5000;

/** Client and server share the machine: the echo server says what the client and TLS alone cost. */
async function creates(api: Api, folder: string): Promise<Measurement[]> {
  const echo = spawn(process.execPath, [peer, join(folder, "apiserver", "pki")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ours: number[] = [];
  const theirs: number[] = [];
  try {
    const port = Number(
      await new Promise<string>((resolve, reject) => {
        echo.once("error", reject).once("exit", () => reject(new Error("the echo server ended")));
        echo.stdout.setEncoding("utf8").once("data", resolve);
      }),
    );
    const echoUrl = `https://127.0.0.1:${port}/`;
    await rate(api, echoUrl, unique(), 1000);
    await rateOfCreates(api, 1000);
    for (let turn = 0; turn < 3; turn++) {
      theirs.push(await rate(api, echoUrl, unique(), created));
      ours.push(await rateOfCreates(api, created));
    }
  } finally {
    echo.stdin.end();
  }
  const ratios = ours.map((value, turn) => value / (theirs[turn] ?? Number.NaN));
  return [
    summarize("ConfigMap creates", "per second", ours, { atLeast: 2000 }),
    summarize("the same requests to a server that echoes", "per second", theirs),
    summarize("creates ÷ echoes", "ratio", ratios),
  ];
}

async function rateOfCreates(api: Api, count: number): Promise<number> {
  const namespace = unique();
  await inNamespace(api, namespace);
  const result = await rate(api, `/api/v1/namespaces/${namespace}/configmaps`, namespace, count);
  await removeNamespace(api, namespace);
  return result;
}

/** Requests per second, `createdAtOnce` under way at any time. */
async function rate(api: Api, path: string, namespace: string, count: number): Promise<number> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const metadata = { name: `c${next++}`, namespace };
      await api.call("POST", path, { apiVersion: "v1", kind: "ConfigMap", metadata, data: { key: "value" } });
    }
  };
  const took = await time(() => Promise.all(Array.from({ length: createdAtOnce }, worker)));
  return (count / took) * 1000;
}

async function inNamespace(api: Api, name: string): Promise<void> {
  await api.call("POST", "/api/v1/namespaces", { metadata: { name } });
}

/** Resolves when the last of it is gone, so that the next measurement has the machine to itself. */
async function removeNamespace(api: Api, name: string): Promise<void> {
  const query = `watch=true&fieldSelector=metadata.name=${name}`;
  const gone = api.watch(`/api/v1/namespaces?${query}`, ({ type }) => type === "DELETED");
  await api.call("DELETE", `/api/v1/namespaces/${name}`);
  await gone;
}

/** Pods that no node takes, so that only the API is measured. */
async function lists(api: Api): Promise<Measurement[]> {
  const namespace = unique();
  await inNamespace(api, namespace);
  const path = `/api/v1/namespaces/${namespace}/pods`;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < 5000) await api.call("POST", path, pod(`p${next++}`, { schedulerName: "nobody" }));
  };
  await Promise.all(Array.from({ length: createdAtOnce }, worker));
  const timed = (headers?: Record<string, string>): Promise<number[]> =>
    repeat(7, () => time(() => api.call("GET", path, undefined, headers)));
  const asTable = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" };
  const result = [
    summarize("list of 5,000 Pods", "ms", await timed(), { atMost: 300 }),
    summarize("list of 5,000 Pods, compressed", "ms", await timed({ "accept-encoding": "gzip" })),
    summarize("list of 5,000 Pods as kubectl's table", "ms", await timed(asTable)),
  ];
  await removeNamespace(api, namespace);
  return result;
}
