/** Runs on a real server, from a real bare repository, on the embedded cluster. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Client, createClient } from "@kws/api/client";
import { addRepository, getRepository } from "@kws/api/repositories";
import * as api from "@kws/api/runs";
import { run as exec } from "@kws/base/exec";
import { signalProcess, waitForExit } from "@kws/base/process";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { namespaces } from "@kws/kube/resources";
import { defaultClusterName, embeddedProvider } from "@kws/platform/providers/embedded";
import { connect, type Connection, type Provider } from "@kws/platform/providers/provider";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { readLocalToken, serverStatus, startInBackground, stopServer } from "../lifecycle.ts";
import { findRunning, serverFolder } from "../state.ts";

// Pods start slowly where other tests take the processor.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

let home: TempDir;
let folder: string;
let env: NodeJS.ProcessEnv;
let provider: Provider;
let connection: Connection;
let client: Client;
let clone: string;

const files = {
  Dockerfile: "FROM kws.local/node:24\nCOPY app.js /app.js\nUSER node\n",
  "app.js": "",
  "chart/Chart.yaml": "apiVersion: v2\nname: one\nversion: 0.1.0\n",
  "chart/values.yaml": 'image: { repository: "", digest: "" }\n',
  "chart/templates/pod.yaml": `apiVersion: v1
kind: Pod
metadata: { name: one }
spec: { containers: [{ name: one, image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}" }] }
`,
};
const serve = `require("http").createServer((q, r) => r.end("here")).listen(8080)`;
const ask = `fetch("http://db:8080").then((r) => process.exit(r.ok ? 0 : 1))`;
const usual = `build: {}
tests:
  unit:
    run: [node, -e, ${JSON.stringify(ask)}]
    datastores:
      db: { image: "kws.local/node:24", args: [node, -e, ${JSON.stringify(serve)}], ports: [8080], ready: { http: / } }
`;
/** Steps of a shell, by name. */
const shell = (steps: Record<string, string>, more: Record<string, object> = {}) =>
  `pipeline: ${JSON.stringify({
    image: "kws.local/node:24",
    steps: Object.entries(steps).map(([name, run]) => Object.assign({ name, run }, more[name])),
  })}\n`;

beforeAll(async () => {
  home = await tempDir("kws-runs");
  folder = serverFolder(join(home.path, "data"));
  clone = join(home.path, "clone");
  const name = { GIT_AUTHOR_NAME: "a", GIT_COMMITTER_NAME: "a" };
  const email = { GIT_AUTHOR_EMAIL: "a@example.com", GIT_COMMITTER_EMAIL: "a@example.com" };
  env = {
    PATH: process.env["PATH"],
    HOME: home.path,
    KWS_HOME: home.path,
    KWS_SERVER_CONCURRENT_RUNS: "3",
    KWS_SERVER_CONCURRENT_RUNS_PER_TEAM: "2",
    ...name,
    ...email,
  };
  provider = embeddedProvider({ name: defaultClusterName, home: join(home.path, "data"), env });
  const git = (...args: string[]) => exec("git", args, { env });
  await git("init", "--quiet", "--bare", "--initial-branch=main", join(home.path, "remote.git"));
  await git("clone", "--quiet", join(home.path, "remote.git"), clone);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(clone, path)), { recursive: true });
    await writeFile(join(clone, path), text);
  }
  await push(usual);
  await Promise.all([provider.start({}), startInBackground({ folder, env })]);
  connection = await connect(provider);
  client = await newClient();
  await client.call(addRepository, { body: { name: "one", url: join(home.path, "remote.git") } });
  await until(
    () => client.call(getRepository, { params: { name: "one" } }),
    ({ state }) => state === "synced",
  );
});
afterAll(async () => {
  await stopServer(folder);
  connection.close();
  await provider.reset({ foreign: false });
  await home[Symbol.asyncDispose]();
});

async function newClient(): Promise<Client> {
  const { url = "" } = await serverStatus(folder);
  return createClient({
    url,
    token: (await readLocalToken(folder)) ?? "",
    signal: AbortSignal.timeout(600_000),
  });
}

async function push(kws: string, branch = "main"): Promise<void> {
  const git = (...args: string[]) => exec("git", ["-C", clone, ...args], { env });
  await writeFile(join(clone, "kws.yaml"), `name: one\n${kws}`);
  await git("checkout", "--quiet", "-B", branch);
  await git("add", ".");
  await git("commit", "--quiet", "--allow-empty", "-m", "a");
  await git("push", "--quiet", "--force", "origin", branch);
}

async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    await pause(50);
  }
}

async function start(branch = "main"): Promise<string> {
  const { items } = await client.call(api.startRuns, { body: { repository: "one", branch } });
  expect(items).toHaveLength(1);
  return items[0]?.run ?? "";
}

const show = (run: string) => client.call(api.getRun, { params: { run } });
const jobState = (run: api.RunDetail, job: string) => run.jobs.find((one) => one.job === job)?.state;
const reached = (run: string, job: string, state: string) =>
  until(
    () => show(run),
    (found) => jobState(found, job) === state,
  );
const end = (run: string) =>
  until(
    () => show(run),
    ({ endedAt }) => endedAt !== undefined,
  );
async function logOf(run: string, job: string): Promise<string[]> {
  const lines = client.all(api.readRunLog, { params: { run, job } });
  return (await Array.fromAsync(lines)).map(({ text }) => text);
}
const left = async () =>
  (await connection.client.list(namespaces, undefined, { labelSelector: "kws.dev/run" })).items;

async function restart(): Promise<void> {
  const running = await findRunning(folder);
  if (running === undefined) throw new Error("no server runs");
  signalProcess(running.process, "SIGKILL");
  expect(await waitForExit(running.process, 20_000)).toBe(true);
  await startInBackground({ folder, env });
  client = await newClient();
}

test("a commit goes through the usual pipeline, and nothing of it stays on the cluster", async () => {
  const run = await end(await start());
  expect(run, JSON.stringify(run, undefined, 2)).toMatchObject({ state: "succeeded", branch: "main" });
  expect(run.jobs.map(({ job, state }) => `${job} ${state}`)).toEqual([
    "check passed",
    "datastores passed",
    "build passed",
    "test passed",
    "publish passed",
    "notify passed",
    "candidate passed",
  ]);
  expect(await left()).toEqual([]);
});

test("a server that is killed at any time goes on with a run, and no step is done twice", async () => {
  const script = (name: string) =>
    `echo "began $(cat /proc/sys/kernel/random/uuid)"; sleep 2; echo "ended ${name}"`;
  const outputs = `${script("first")}; echo "id=$(cat /proc/sys/kernel/random/uuid)" >> $KWS_OUTPUTS`;
  await push(
    shell(
      { first: outputs, second: `${script("second")}; echo "got $ID"` },
      { first: { outputs: ["id"] }, second: { env: { ID: "${steps.first.id}" } } },
    ),
  );
  const id = await start();
  await restart();
  const began = (job: string) =>
    until(
      () => logOf(id, job),
      (lines) => lines.some((line) => line.startsWith("began")),
    );
  const [first] = await began("first");
  await restart();
  const passed = await reached(id, "first", "passed");
  await restart();
  const [second] = await began("second");
  await restart();
  const run = await end(id);
  expect(run, JSON.stringify(run, undefined, 2)).toMatchObject({ state: "succeeded" });
  expect(run.jobs[0], "what was finished is remembered").toEqual(passed.jobs[0]);
  expect(await logOf(id, "first")).toEqual([first, "ended first"]);
  expect(await logOf(id, "second")).toEqual([second, "ended second", `got ${run.jobs[0]?.outputs["id"]}`]);
  expect(await left()).toEqual([]);
});

test("a run is cancelled while it works and while it is queued", async () => {
  await push(shell({ long: "echo began; sleep 600" }));
  const ids = [await start(), await start(), await start()];
  const [one = "", two = "", three = ""] = ids;
  await reached(one, "long", "running");
  expect(await show(three), "a team has its share").toMatchObject({ state: "queued" });
  for (const run of [three, one, two])
    await client.call(api.cancelRun, { params: { run }, body: { why: "too long" } });
  expect(await show(three)).toMatchObject({ state: "cancelled", problem: "local cancelled it: too long" });
  const ended = await Promise.all(ids.map(end));
  expect(ended.map(({ state }) => state)).toEqual(["cancelled", "cancelled", "cancelled"]);
  expect(ended[0]?.jobs).toMatchObject([{ state: "skipped" }]);
  const again = client.call(api.cancelRun, { params: { run: one }, body: {} });
  await expect(again).rejects.toMatchObject({ reason: "conflict" });
  expect(await left()).toEqual([]);
});

test("a step waits for approval without a place in the queue, and a retry takes up what passed", async () => {
  const approval = { deploy: { approval: true, retries: 2 } };
  await push(
    shell(
      { make: "echo made >> made", deploy: "cat made" },
      { ...approval, make: { artifacts: { paths: ["made"] } } },
    ),
  );
  const id = await start();
  await reached(id, "deploy", "waiting");
  expect(await show(id)).toMatchObject({ state: "waiting" });
  await restart();
  const refuse = { params: { run: id, job: "deploy" }, body: { approved: false, why: "not today" } };
  await client.call(api.decideRun, refuse);
  const refused = await end(id);
  expect(refused).toMatchObject({ state: "failed" });
  expect(refused.jobs[1]).toMatchObject({ state: "failed", why: "local refused it: not today", attempts: 0 });
  const retried = await client.call(api.retryRun, { params: { run: id }, body: { from: "deploy" } });
  const waiting = await reached(retried.run, "deploy", "waiting");
  expect(waiting.jobs[0], "what passed is that of the run before").toEqual(refused.jobs[0]);
  await client.call(api.decideRun, { params: { run: retried.run, job: "deploy" }, body: { approved: true } });
  expect(await end(retried.run)).toMatchObject({ state: "succeeded", retryOf: id });
  expect(await logOf(retried.run, "deploy")).toEqual(["made"]);
});
