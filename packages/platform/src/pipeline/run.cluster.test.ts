/** Pipelines on a real cluster: the usual one, steps of every kind, and runs that are ended or handed over in the middle. */
import { mkdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { run as exec } from "@kws/base/exec";
import { silent } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import { Steps } from "@kws/base/steps";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { limitRanges, namespaces, networkPolicies, pods, resourceQuotas } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSubject } from "../analysis/subject.ts";
import { openPackageStore } from "../packages/store.ts";
import { openServices } from "../project/services.ts";
import { hasSource, loadProject } from "../project/workspace.ts";
import { embeddedProvider } from "../providers/embedded.ts";
import { connect, type Connection, type Provider } from "../providers/provider.ts";
import { locateTool } from "../tools/locate.ts";
import { blobFolder } from "./blobs.ts";
import { openBuiltins } from "./builtins.ts";
import { readLog } from "./logs/read.ts";
import { openLog } from "./logs/store.ts";
import { HandedOver, namespaceOf, sweepRuns } from "./place.ts";
import { planPipeline } from "./plan.ts";
import { forgetful, type Journal, runPipeline, type RunOptions, type RunResult } from "./run.ts";
import { sourcesOf } from "./source.ts";

let dir: TempDir;
let provider: Provider;
let connection: Connection;
let tools: { helm: string; kubectl: string };
let count = 0;

const serve = `require("http").createServer((q, r) => r.end(process.env.PASSWORD)).listen(8080)`;
const ask = `fetch("http://db:8080").then((r) => r.text()).then((t) => process.exit(t.length > 20 && t === process.env.PASSWORD ? 0 : 1))`;
const usual = `
build: {}
tests:
  unit:
    run: [node, -e, ${JSON.stringify(ask)}]
    secrets: [PASSWORD]
    datastores:
      db: { image: "kws.local/node:24", args: [node, -e, ${JSON.stringify(serve)}], ports: [8080], ready: { http: / } }
`;
const files = {
  Dockerfile: "FROM kws.local/node:24\nCOPY app.js /app.js\nUSER node\n",
  "app.js": "",
  "lock.json": "1",
  "chart/Chart.yaml": "apiVersion: v2\nname: one\nversion: 0.1.0\n",
  "chart/values.yaml": 'image: { repository: "", digest: "" }\n',
  "chart/templates/pod.yaml": `apiVersion: v1
kind: Pod
metadata: { name: one }
spec: { containers: [{ name: one, image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}" }] }
`,
};

beforeAll(async () => {
  dir = await tempDir("kws-pipeline");
  provider = embeddedProvider({ name: "pipelines", home: join(dir.path, "data"), env: process.env });
  await provider.start({});
  connection = await connect(provider);
  const tool = { cache: join(dir.path, "cache"), env: process.env };
  tools = {
    helm: (await locateTool("helm", tool)).path,
    kubectl: (await locateTool("kubectl", tool)).path,
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(dir.path, "one", name, ".."), { recursive: true });
    await writeFile(join(dir.path, "one", name), text);
  }
  const git = (...args: string[]) =>
    exec("git", ["-C", join(dir.path, "one"), ...args], { env: process.env });
  await git("init", "--quiet", "--initial-branch=main");
  await git(
    "-c",
    "user.name=A",
    "-c",
    "user.email=a@example.com",
    "commit",
    "--quiet",
    "--allow-empty",
    "-m",
    "A",
  );
});
afterAll(async () => {
  connection.close();
  await provider.reset({ foreign: false });
  await dir[Symbol.asyncDispose]();
});

const holder = { user: "me", host: hostname(), pid: process.pid };
const clock = () => Date.now();
const logOf = async (id: string, job: string) => {
  const lines: string[] = [];
  for await (const { text } of readLog(join(dir.path, "logs", id, job))) lines.push(text);
  return lines;
};
const left = async () =>
  (await connection.client.list(namespaces, undefined, { labelSelector: "kws.dev/run" })).items;

interface Asked extends Partial<Omit<RunOptions, "secrets">> {
  kws: string;
  secrets?: Record<string, string>;
}

async function options({ kws, ...more }: Asked): Promise<RunOptions> {
  const id = more.id ?? `run-${++count}`;
  const cache = join(dir.path, "cache");
  const env = process.env;
  const { signal } = new AbortController();
  await writeFile(join(dir.path, "one/kws.yaml"), `name: one\n${kws}`);
  const project = await loadProject(join(dir.path, "one/kws.yaml"));
  const services = await openServices(project, { cache, env }).all();
  const service = services.find(hasSource);
  if (service === undefined) throw new Error("there is a service");
  const trigger = { event: "push", branch: "main" } as const;
  const plan = planPipeline(service, trigger);
  const steps = new Steps({ now: () => performance.now() });
  const shared = {
    ...tools,
    childEnv: env,
    cache,
    log: silent,
    steps,
    now: () => performance.now(),
    clock,
    holder,
  };
  return {
    ...shared,
    id,
    plan,
    trigger,
    service,
    connection,
    builtins: openBuiltins({
      ...shared,
      plan,
      project,
      service,
      services,
      provider,
      builder: provider,
      store: await openPackageStore(join(dir.path, "data")),
      push: false,
      subject: (until) =>
        openSubject({
          env,
          home: dir.path,
          cwd: dir.path,
          locations: { cache, data: join(dir.path, "data"), config: join(dir.path, "config") },
          file: project.file.path,
          chosen: [service.name],
          clock,
          signal: until,
          provider: () => Promise.resolve(provider),
          connect: () => Promise.resolve(connection),
        }),
      notify: ({ results }) => Promise.resolve(`told of ${results.length}`),
      startMs: 60_000,
    }),
    journal: forgetful,
    openLog: (job) => openLog(join(dir.path, "logs", id, job.id), { clock, anew: true }),
    approve: () => Promise.resolve(),
    sources: sourcesOf(service, join(dir.path, "sources", id), { env }),
    artifacts: blobFolder(join(dir.path, "artifacts")),
    caches: blobFolder(join(dir.path, "caches")),
    startMs: 60_000,
    parallel: 4,
    keepOnFailure: false,
    signal,
    ...more,
    secrets: more.secrets ?? {},
  };
}

const run = async (asked: Asked) => runPipeline(await options(asked));
const outcomes = ({ jobs }: RunResult) => Object.fromEntries(jobs.map(({ job, outcome }) => [job, outcome]));

test("the usual pipeline checks, tests beside the datastores and packages; what is known is not done again", async () => {
  const first = await run({ kws: usual });
  expect(first.jobs.map(({ job, outcome, why }) => [job, outcome, why])).toEqual([
    ["check", "passed", undefined],
    ["datastores", "passed", undefined],
    ["build", "passed", undefined],
    ["test", "passed", undefined],
    ["publish", "passed", undefined],
    ["notify", "passed", undefined],
    ["candidate", "skipped", "there is no server to do it"],
  ]);
  expect(first.jobs[4]?.outputs["package"]).toMatch(/charts\/one:.*@sha256:/);
  expect(await logOf(first.run, "notify")).toEqual(["told of 5"]);
  const again = await run({ kws: usual });
  expect(outcomes(again)).toEqual(outcomes(first));
  expect(again.jobs[4]?.outputs).toEqual(first.jobs[4]?.outputs);
  expect((await logOf(again.run, "test"))[0]).toMatch(/^passed at .* with the same content$/);
  expect(await left()).toEqual([]);
});

const graph = `
pipeline:
  image: kws.local/node:24
  steps:
    - name: make
      run: |
        id -u; echo "token $TOKEN"; printf %s "$TOKEN" | base64
        mkdir out; echo "$V" > "out/$V.txt"
        if [ -e deps ]; then cat deps/made; else mkdir deps; echo kept > deps/made; fi
      env: { V: "\${matrix.v}" }
      matrix: { v: [a, b] }
      secrets: [TOKEN]
      artifacts: { paths: [out] }
      cache: { key: [lock.json, "\${matrix.v}"], paths: [deps] }
    - { name: gather, run: "ls out; ls; echo version=1.2 >> $KWS_OUTPUTS", outputs: [version] }
    - { name: use, run: 'test "$VERSION" = 1.2', env: { VERSION: "\${steps.gather.version}" }, approval: true }
    - { name: bad, needs: [make], run: "echo no; exit 3", retries: 1 }
    - { name: slow, needs: [make], run: "echo going; sleep 600", timeout: 1s }
    - { name: leak, needs: [make], run: "echo v=$TOKEN >> $KWS_OUTPUTS", secrets: [TOKEN], outputs: [v] }
    - { name: other, needs: [], run: "true", when: { branch: [release] } }
    - { name: never, needs: [bad, use], run: "true" }
    - { uses: notify, needs: [never] }
`;

test("steps run side by side with their files, and each ends as it deserves", async () => {
  const token = "s3cret-of-the-registry";
  const first = await run({ kws: graph, secrets: { TOKEN: token } });
  expect(first.outcome).toBe("failed");
  expect(outcomes(first)).toEqual({
    "make.1": "passed",
    "make.2": "passed",
    gather: "passed",
    use: "passed",
    bad: "failed",
    slow: "failed",
    leak: "failed",
    other: "skipped",
    never: "blocked",
    notify: "passed",
  });
  const why = Object.fromEntries(first.jobs.map((job) => [job.job, job.why]));
  expect(why).toMatchObject({
    bad: "exit code 3",
    slow: "it did not end within 1s",
    leak: "its output v holds a secret",
    never: "bad failed",
  });
  expect(await logOf(first.run, "make.1")).toEqual([
    "there is no such cache yet",
    "1000",
    "token ***",
    expect.not.stringContaining(Buffer.from(token).toString("base64")),
  ]);
  expect((await logOf(first.run, "gather")).slice(0, 2)).toEqual(["a.txt", "b.txt"]);
  expect(await logOf(first.run, "gather")).toContain("app.js");
  expect(first.jobs.find(({ job }) => job === "bad")?.attempts).toBe(2);
  expect((await logOf(first.run, "bad")).filter((line) => line === "no")).toHaveLength(2);
  expect(await logOf(first.run, "slow")).toContain("going");
  expect(JSON.stringify(first)).not.toContain(token);

  const again = await run({ kws: graph, secrets: { TOKEN: token } });
  expect(again.jobs.slice(0, 2).map(({ cache }) => cache)).toEqual(["hit", "hit"]);
  expect(await logOf(again.run, "make.2")).toContain("kept");
  expect(await left()).toEqual([]);
});

test("a step that waits for approval holds no other up, and one that is refused fails", async () => {
  const allowed = Promise.withResolvers<void>();
  const ended: string[] = [];
  const result = await run({
    kws: `
pipeline:
  image: kws.local/node:24
  steps:
    - { name: ask, needs: [], run: "true", approval: true }
    - { name: no, needs: [], run: "true", approval: true, retries: 3 }
    - { name: other, needs: [], run: "true" }
`,
    parallel: 1,
    approve: ({ id }) =>
      id === "no" ? Promise.reject(new UserError("not today", { fix: "Ask again." })) : allowed.promise,
    onResult({ job }) {
      ended.push(job);
      if (job === "other") allowed.resolve();
    },
  });
  expect(outcomes(result)).toEqual({ ask: "passed", no: "failed", other: "passed" });
  expect(ended.indexOf("ask")).toBe(2);
  expect(result.jobs[1]).toMatchObject({ why: "not today", attempts: 0 });
  expect(await logOf(result.run, "no")).toEqual(["Ask again.", "failed: not today"]);

  const stop = new AbortController();
  const never = run({
    kws: 'pipeline: { image: "kws.local/node:24", steps: [{ name: ask, run: "true", approval: true }] }\n',
    signal: stop.signal,
    approve() {
      stop.abort(new Error("enough"));
      return new Promise(() => undefined);
    },
  });
  expect(await endOf(never)).toBe("Error: enough");
  expect(await left()).toEqual([]);
});

/** What was thrown, in words. */
const endOf = (running: Promise<unknown>) => running.then(() => "it ended well", String);

const waits = `
pipeline:
  image: kws.local/node:24
  steps:
    - { name: quick, run: "echo v=$(date +%N) >> $KWS_OUTPUTS", outputs: [v] }
    - { name: long, run: "echo begun; while [ ! -e /kws/go ]; do sleep 0.05; done; echo ended" }
`;

/** Resolves when the long step has said that it began. */
async function begun(id: string): Promise<void> {
  while (!(await logOf(id, "long")).includes("begun")) await sleep(50);
}

test("a run that is ended removes its namespace, which was shut off and bounded", async () => {
  const stop = new AbortController();
  const asked = await options({ kws: waits, signal: stop.signal });
  const ended = endOf(runPipeline(asked));
  await begun(asked.id);
  const namespace = namespaceOf(asked.id);
  const { client } = connection;
  const pod = await client.get(pods, "long-1", namespace);
  expect(pod["spec"]).toMatchObject({
    automountServiceAccountToken: false,
    activeDeadlineSeconds: expect.any(Number) as number,
    securityContext: { runAsNonRoot: true },
  });
  for (const resource of [resourceQuotas, limitRanges, networkPolicies]) {
    expect((await client.list(resource, namespace)).items).toHaveLength(1);
  }
  expect(await sweepRuns({ client, holder, clock, signal: asked.signal })).toEqual([]);
  stop.abort(new Error("enough"));
  expect(await ended).toBe("Error: enough");
  expect(await left()).toEqual([]);
});

test("a run that is handed over goes on in the pod that it has, and does nothing twice", async () => {
  const remembered = new Map<string, unknown>();
  const journal: Journal = {
    async step<T>(name: string, work: () => Promise<T>) {
      if (!remembered.has(name)) remembered.set(name, JSON.parse(JSON.stringify(await work())));
      return remembered.get(name) as T;
    },
  };
  const stop = new AbortController();
  const asked = await options({ kws: waits, journal, signal: stop.signal });
  const ended = endOf(runPipeline(asked));
  await begun(asked.id);
  const namespace = namespaceOf(asked.id);
  const { uid } = (await connection.client.get(pods, "long-1", namespace)).metadata;
  stop.abort(new HandedOver("the server stops"));
  expect(await ended).toBe("HandedOver: the server stops");
  expect([...remembered.keys()]).toEqual(["job 1"]);

  const second = runPipeline({ ...asked, signal: new AbortController().signal });
  await begun(asked.id);
  const { kubeconfig } = connection;
  const target = ["--kubeconfig", kubeconfig.path, "--namespace", namespace];
  await exec(tools.kubectl, [...target, "exec", "long-1", "-c", "files", "--", "touch", "/kws/go"], {
    env: process.env,
  });
  expect((await connection.client.get(pods, "long-1", namespace)).metadata.uid).toBe(uid);
  const result = await second;
  expect(outcomes(result)).toEqual({ quick: "passed", long: "passed" });
  expect(result.jobs[0]).toEqual(remembered.get("job 1"));
  expect(await logOf(asked.id, "long")).toEqual(["begun", "ended"]);
  expect(await left()).toEqual([]);
});

test("what a killed process left is removed, and what was kept when its day is over", async () => {
  const { client } = connection;
  const kept = await run({
    kws: 'pipeline: { image: "kws.local/node:24", steps: [{ name: bad, run: "false" }] }\n',
    keepOnFailure: true,
  });
  expect(kept.namespace).toBe(namespaceOf(kept.run));
  const gone = { user: "me", host: hostname(), pid: 4_194_305 };
  const stop = new AbortController();
  const asked = await options({ kws: waits, holder: gone, signal: stop.signal });
  const ended = endOf(runPipeline(asked));
  await begun(asked.id);
  stop.abort(new HandedOver("killed"));
  expect(await ended).toBe("HandedOver: killed");
  const { signal } = new AbortController();
  const later = (ms: number) => sweepRuns({ client, holder, clock: () => Date.now() + ms, signal });
  expect(await later(61_000)).toEqual([namespaceOf(asked.id)]);
  expect(await later(25 * 3_600_000)).toEqual([kept.namespace]);
  expect(await left()).toEqual([]);
});
