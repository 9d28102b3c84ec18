/** Suites on a real cluster: those that end well, those that do not, and what is left behind. */
import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { silent } from "@kws/base/logger";
import { Steps } from "@kws/base/steps";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { leases, namespaces, pods } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Datastore, FunctionalTests } from "../project/schema.ts";
import { openServices } from "../project/services.ts";
import { loadProject } from "../project/workspace.ts";
import { embeddedProvider } from "../providers/embedded.ts";
import { connect, type Connection, type Provider } from "../providers/provider.ts";
import { locateTool } from "../tools/locate.ts";
import { chooseSuites } from "./levels.ts";
import { freshPlace, sharedPlace } from "./place.ts";
import type { TestResult } from "./results.ts";
import { runTests, type TestOptions } from "./run.ts";

let dir: TempDir;
let provider: Provider;
let connection: Connection;
let options: TestOptions;

/** A runner that writes a report, with one failure where it is asked for. */
const runner = `#!/bin/sh
echo "testing against \${TARGET:-nothing}"
failure=""
[ "$1" = fail ] && failure='<failure message="1 is not 2"/>'
cat > /reports/result.xml <<EOF
<testsuite><testcase classname="c" name="good"/><testcase classname="c" name="other">$failure</testcase></testsuite>
EOF
[ "$1" != fail ]
`;

beforeAll(async () => {
  dir = await tempDir("kws-run");
  provider = embeddedProvider({ name: "tests", home: join(dir.path, "data"), env: process.env });
  await provider.start({});
  connection = await connect(provider);
  const service = join(dir.path, "one");
  await mkdir(service);
  await writeFile(join(service, "kws.yaml"), "name: one\nbuild: {}\ntests: { unit: { run: [/run.sh] } }\n");
  await writeFile(join(service, "Dockerfile"), "FROM kws.local/node:24\nCOPY run.sh /run.sh\nUSER node\n");
  await writeFile(join(service, "run.sh"), runner);
  await chmod(join(service, "run.sh"), 0o755);
  await writeFile(join(dir.path, "kws.yaml"), "name: w\nservices: [./one]\n");
  const cache = join(dir.path, "cache");
  const project = await loadProject(join(dir.path, "kws.yaml"));
  const services = await openServices(project, { cache, env: process.env }).all();
  const { signal } = new AbortController();
  const tool = { cache, env: process.env };
  options = {
    project,
    services,
    suites: chooseSuites(services, { names: [] }),
    provider,
    connect: async () => connection,
    helm: (await locateTool("helm", tool)).path,
    kubectl: (await locateTool("kubectl", tool)).path,
    cache,
    env: process.env,
    log: silent,
    steps: new Steps({ now: () => performance.now() }),
    signal,
    clock: () => Date.now(),
    holder: { user: "me", host: hostname(), pid: process.pid },
    parallel: 8,
    keep: false,
    force: false,
    reuseFailures: false,
    startMs: 60_000,
    plan: () => Promise.reject(new Error("unit tests install nothing")),
  };
});
afterAll(async () => {
  connection.close();
  await provider.reset({ foreign: false });
  await dir[Symbol.asyncDispose]();
});

/** Runs suites that differ in what kws.yaml says, all at once. */
async function run(
  configs: Partial<FunctionalTests>[],
  more: Partial<TestOptions> = {},
): Promise<TestResult[]> {
  const suites = configs.flatMap((config) =>
    options.suites.map((suite) => ({ ...suite, config: { ...suite.config, ...config } })),
  );
  return await runTests({ ...options, ...more, suites });
}

const datastore: Datastore = { service: "one", args: [], ports: [8080] };

async function left(): Promise<string[]> {
  const { items } = await connection.client.list(namespaces, undefined, { labelSelector: "kws.dev/test" });
  return items
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }) => metadata.name);
}

test("each suite ends as it deserves, with its output and reports, and nothing is left", async () => {
  const [passed, failed, silentOne, hanging, greedy, noImage, noCommand, noDatastore] = await run([
    { env: { TARGET: "a" } },
    { run: ["/run.sh", "fail"] },
    { run: ["sh", "-c", "echo only an exit code; exit 3"] },
    { run: ["sh", "-c", "echo going; sleep 600"], timeout: "2s" },
    { run: ["node", "-e", "const all = []; for (;;) all.push(Buffer.alloc(1e7, 1));"], memory: "100Mi" },
    { image: "kws.local/none:1" },
    { run: ["/no-such-program"] },
    { datastores: { db: { ...datastore, args: ["sh", "-c", "echo no disk; exit 4"] } } },
  ]);
  expect(passed).toMatchObject({
    outcome: "passed",
    exitCode: 0,
    tests: { passed: 2, failed: 0, skipped: 0 },
    notes: [],
  });
  expect(await readFile(join(passed?.folder ?? "", "output.log"), "utf8")).toBe("testing against a\n");
  expect(failed).toMatchObject({
    outcome: "failed",
    exitCode: 1,
    tests: { passed: 1, failed: 1 },
    failures: [{ suite: "c", name: "other", message: "1 is not 2" }],
  });
  expect(silentOne).toMatchObject({ outcome: "failed", exitCode: 3, lastLines: ["only an exit code"] });
  expect(silentOne).not.toHaveProperty("tests");
  expect(hanging).toMatchObject({ outcome: "failed", reason: "timeout", lastLines: ["going"] });
  expect(greedy).toMatchObject({ outcome: "failed", exitCode: 137, reason: "OOMKilled" });
  expect(noImage).toMatchObject({
    outcome: "error",
    error: { message: expect.stringContaining("kws.local/none:1") as string },
  });
  expect(noCommand).toMatchObject({
    outcome: "error",
    error: { message: expect.stringContaining("/no-such-program") as string },
  });
  expect(noDatastore).toMatchObject({
    outcome: "error",
    error: {
      message: expect.stringMatching(/the datastore db: it ended with exit code 4[^]*no disk/) as string,
    },
  });
  expect(await left()).toEqual([]);
});

test("what passed is not run again until something changes; what failed is, unless that is asked for", async () => {
  const mark = randomUUID();
  const pass = { env: { MARK: mark } };
  const fail = { ...pass, run: ["/run.sh", "fail"] };
  const outcome = (results: TestResult[]) => results.map((one) => `${one.outcome} ${one.cached}`);
  expect(outcome(await run([pass, fail]))).toEqual(["passed false", "failed false"]);
  expect(outcome(await run([pass, fail], { reuseFailures: true }))).toEqual(["passed true", "failed true"]);
  expect(outcome(await run([pass, fail, { ...pass, cpu: "1" }]))).toEqual([
    "passed true",
    "failed false",
    "passed false",
  ]);
  expect(outcome(await run([pass], { force: true }))).toEqual(["passed false"]);
  const connect = () => Promise.reject(new UserError("the cluster cannot start"));
  expect(outcome(await run([pass], { connect })), "nothing to run needs no cluster").toEqual(["passed true"]);
  await expect(run([pass], { connect, force: true })).rejects.toThrow("the cluster cannot start");
});

test("a datastore is reached by its name once it is ready, with a password of that run; a pod of tests has no rights and limits", async () => {
  const serve = "require('http').createServer((q, r) => r.end(process.env.DB_PASSWORD)).listen(8080)";
  const ask =
    "fetch('http://db:8080').then((r) => r.text()).then((t) => process.exit(t.length > 30 && process.env.URL === 'db:' + t ? 0 : 1))";
  const [result] = await run(
    [
      {
        run: ["node", "-e", ask],
        secrets: ["PASSWORD"],
        env: { URL: "db:$(PASSWORD)" },
        datastores: {
          db: {
            ...datastore,
            env: { DB_PASSWORD: "$(PASSWORD)" },
            args: ["node", "-e", serve],
            ready: { http: "/" },
          },
        },
      },
    ],
    { keep: true },
  );
  expect(result).toMatchObject({ outcome: "passed" });
  const pod = await connection.client.get(pods, "tests", result?.namespace);
  expect(pod["spec"]).toMatchObject({
    automountServiceAccountToken: false,
    activeDeadlineSeconds: expect.any(Number) as number,
    containers: [{ resources: { limits: { cpu: "2", memory: "1Gi" } } }, {}],
  });
  expect(await left()).toEqual([result?.namespace]);
});

test("what a killed run left goes with the next one, and what was kept when its day is over", async () => {
  const [suite] = options.suites;
  if (suite === undefined) throw new Error("there is a suite");
  const holder = { ...options.holder, pid: 4_194_305 };
  const dead = { ...options, connection, workspace: "w", holder, keep: false, graph: [], suffix: "dead" };
  await freshPlace(suite, dead);
  const shared = await sharedPlace(suite, "default", dead);
  const lease = () => connection.client.find(leases, shared.pod, "default");
  expect(await lease()).toBeDefined();
  const before = await left();
  expect(before).toContain("test-one-dead");
  await run([{ env: { AGAIN: randomUUID() } }]);
  expect(await left()).toEqual(before.filter((name) => name !== "test-one-dead"));
  expect(await lease()).toBeUndefined();
  await run([{ env: { AGAIN: randomUUID() } }], { clock: () => Date.now() + 25 * 3_600_000 });
  expect(await left()).toEqual([]);
});
