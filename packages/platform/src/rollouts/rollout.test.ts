/** On a real git repository with real encrypted files; what would run in a cluster is what was committed at the deployment. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { run } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { encrypt } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loadChart } from "../charts/chart.ts";
import { effectiveValues, type Values } from "../charts/layers.ts";
import { loadServices } from "../project/services.ts";
import { loadProject, type ProjectService } from "../project/workspace.ts";
import { secretOpener } from "../secrets/open.ts";
import { type Credential, findCredential } from "./credential.ts";
import { abortRollout, continueRollout, type RolloutOptions, startRollout } from "./rollout.ts";
import { readStanding } from "./state.ts";

// Git is started some hundred times.
vi.setConfig({ testTimeout: 60_000 });

const now = new Date("2026-01-02T03:04:05Z");
let dir: TempDir;
let keys: TestKeys;
let env: NodeJS.ProcessEnv;
let credential: Credential;
/** The values of the revisions that may run, by service. */
let running: Map<string, Values[]>;
let options: RolloutOptions;
let commits: string[];

const path = (service: string) => join(dir.path, service, "chart/profiles/qa/secrets.yaml");
const git = async (...args: string[]) => (await run("git", ["-C", dir.path, ...args], { env })).stdout;

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir.path, file)), { recursive: true });
  await writeFile(join(dir.path, file), text);
}

async function valuesOf(service: ProjectService): Promise<Values> {
  return effectiveValues((await loadChart(service, "qa", options.decrypt)).layers);
}

beforeEach(async () => {
  dir = await tempDir("kws-rollout");
  keys = await ageKeys();
  env = {
    PATH: process.env["PATH"],
    HOME: dir.path,
    GIT_AUTHOR_NAME: "Someone",
    GIT_AUTHOR_EMAIL: "someone@example.com",
    GIT_COMMITTER_NAME: "Someone",
    GIT_COMMITTER_EMAIL: "someone@example.com",
  };
  await write("kws.yaml", "services: [./payments, ./orders, ./mailer]\n");
  const clients = "{ orders: secrets.PAYMENTS, mailer: secrets.PAYMENTS }";
  const declared = `credentials:\n  token: { key: secrets.TOKEN, next: secrets.NEXT, clients: ${clients} }\n`;
  for (const service of ["payments", "orders", "mailer"]) {
    await write(`${service}/kws.yaml`, `name: ${service}\n${service === "payments" ? declared : ""}`);
    await write(`${service}/chart/Chart.yaml`, `apiVersion: v2\nname: ${service}\nversion: 1.0.0\n`);
    await write(`${service}/chart/values.yaml`, 'secrets: { NEXT: "" }\n');
    const text = `secrets:\n  ${service === "payments" ? "TOKEN" : "PAYMENTS"}: canary-one\n  OTHER: canary-other\n`;
    const sealed = { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now } as const;
    await write(`${service}/chart/profiles/qa/secrets.yaml`, await encrypt(text, sealed));
  }
  await git("init", "--quiet", "--initial-branch=main");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "First");
  const services = await loadServices(await loadProject(join(dir.path, "kws.yaml")), {
    cache: "/nowhere",
    env,
  });
  credential = findCredential(services, "payments/token");
  const world = {
    env: { SOPS_AGE_KEY: keys.identity },
    home: "/nowhere",
    cwd: "/",
    clock: () => now.getTime(),
  };
  commits = [];
  running = new Map();
  options = {
    profile: "qa",
    decrypt: secretOpener(world, new AbortController().signal),
    git: { env },
    commandFor: (step) => `kws secrets rollout ${step} payments/token -p qa`,
    tools: { keyring: keys.keyring, now },
    runningValues: async (service) => running.get(service) ?? [],
    onCommit: (subject) => commits.push(subject),
    deploy: async (service) => {
      const changes = await git("status", "--porcelain", "--", service.name);
      if (changes !== "") throw new Error(`deployed with ${changes}`);
      running.set(service.name, [await valuesOf(service)]);
    },
  };
  for (const service of services) running.set(service.name, [await valuesOf(service)]);
});
afterEach(() => dir[Symbol.asyncDispose]());

const valueIn = (service: string, key: string) =>
  (running.get(service)?.[0]?.["secrets"] as Record<string, unknown> | undefined)?.[key];
const ended = { wanted: ["current"], running: [["current"]], committed: true };

test("a credential gets a new random value, commit by commit, and no commit holds more than its file", async () => {
  await startRollout(credential, options);
  const value = valueIn("payments", "NEXT");
  expect(value).toMatch(/^[\w-]{43}$/);
  await continueRollout(credential, options);
  expect([valueIn("orders", "PAYMENTS"), valueIn("mailer", "PAYMENTS")]).toEqual([value, "canary-one"]);
  await continueRollout(credential, options);
  const state = await continueRollout(credential, options);
  expect(state).toEqual({
    provider: { ...ended, service: "payments" },
    clients: [
      { ...ended, service: "orders" },
      { ...ended, service: "mailer" },
    ],
  });
  expect(valueIn("payments", "TOKEN")).toBe(value);
  expect(commits).toEqual([
    "Rotate payments/token: payments accepts both values (qa)",
    "Rotate payments/token: orders sends the new value (qa)",
    "Rotate payments/token: mailer sends the new value (qa)",
    "Rotate payments/token: payments accepts the new value alone (qa)",
  ]);
  const log = await git("log", "--reverse", "--name-only", "--format=%s", "main~4..main");
  expect(log.split("\n").filter((line) => line !== "")).toEqual(
    ["payments", "orders", "mailer", "payments"].flatMap((service, index) => [
      commits[index],
      `${service}/chart/profiles/qa/secrets.yaml`,
    ]),
  );
  await expect(continueRollout(credential, options)).rejects.toMatchObject({ code: "conflict" });
});

test("a value may be given, and another one while it is rotated is refused", async () => {
  await startRollout(credential, options, "canary-two");
  await startRollout(credential, options, "canary-two");
  expect(commits).toHaveLength(1);
  await expect(startRollout(credential, options, "canary-three")).rejects.toMatchObject({
    code: "conflict",
    message: expect.not.stringContaining("canary"),
  });
});

test.each(["", "canary-one"])("%j cannot be the new value", async (given) => {
  await expect(startRollout(credential, options, given)).rejects.toMatchObject({ code: "usage" });
  expect(await git("status", "--porcelain")).toBe("");
});

test("abort brings everybody back to the old value, the clients first", async () => {
  await startRollout(credential, options, "canary-two");
  await continueRollout(credential, options);
  await abortRollout(credential, options);
  expect(commits.slice(2)).toEqual([
    "Rotate payments/token: orders sends the old value (qa)",
    "Rotate payments/token: payments accepts the old value alone (qa)",
  ]);
  expect(["TOKEN", "NEXT"].map((key) => valueIn("payments", key))).toEqual(["canary-one", ""]);
  expect(valueIn("orders", "PAYMENTS")).toBe("canary-one");
});

test("a deployment that fails leaves the rotation at its step, and the next one mends it alone", async () => {
  await startRollout(credential, options, "canary-two");
  const { deploy } = options;
  options.deploy = async () => {
    throw new UserError("orders does not become ready", { code: "timeout" });
  };
  await expect(continueRollout(credential, options)).rejects.toMatchObject({
    code: "timeout",
    message: "orders does not become ready",
    fix: expect.stringContaining("kws secrets rollout abort payments/token -p qa"),
  });
  expect((await readStanding(credential, options)).state.clients[0]).toMatchObject({
    wanted: ["new"],
    committed: true,
    running: [["old"]],
  });
  options.deploy = deploy;
  const { clients } = await continueRollout(credential, options);
  expect(clients.map(({ running }) => running)).toEqual([[["new"]], [["old"]]]);
});

test("what was changed and not committed is committed, unless it is more than the credential", async () => {
  await startRollout(credential, options, "canary-two");
  options.git = { env: { ...env, GIT_COMMITTER_EMAIL: "", GIT_COMMITTER_NAME: "", HOME: "/nowhere" } };
  await expect(continueRollout(credential, options)).rejects.toMatchObject({
    message: expect.stringContaining("git does not commit"),
  });
  options.git = { env };
  expect((await readStanding(credential, options)).state.clients[0]).toMatchObject({ committed: false });
  const half = await readFile(path("orders"), "utf8");
  await writeFile(path("orders"), half.replace(/^( +)OTHER: .*$/m, "$1OTHER: ''"));
  await expect(continueRollout(credential, options)).rejects.toMatchObject({
    at: expect.stringContaining(path("orders")),
  });
  await writeFile(path("orders"), half);
  await continueRollout(credential, options);
  expect(valueIn("orders", "PAYMENTS")).toBe("canary-two");
});

test("a service with other changes that are not committed is refused before anything is changed", async () => {
  await write("payments/notes.txt", "x");
  const before = await readFile(path("payments"), "utf8");
  await expect(startRollout(credential, options)).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("payments/notes.txt"),
  });
  expect(await readFile(path("payments"), "utf8")).toBe(before);
});

test("a provider that is not deployed has to be deployed first", async () => {
  running.delete("payments");
  await expect(startRollout(credential, options)).rejects.toMatchObject({
    code: "not-found",
    fix: "Deploy it first: `kws deploy payments -p qa`.",
  });
});

test("where something else sets the value that runs, the rotation ends instead of deploying for ever", async () => {
  options.deploy = async () => {};
  await expect(startRollout(credential, options)).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("does not reach it"),
  });
});
