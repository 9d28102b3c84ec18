import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readChart } from "../charts/chart.ts";
import type { Decrypt } from "../charts/layers.ts";
import type { Prepared } from "../packages/prepare.ts";
import { openServices } from "../project/services.ts";
import { findStack, loadProject } from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";
import { planStack, type Selection, type ServicePlan } from "./plan.ts";

let dir: TempDir;
beforeAll(async () => {
  dir = await tempDir("kws-plan");
  const service = (name: string, more: string) => ({
    [`${name}/kws.yaml`]: `name: ${name}\n${more}`,
    [`${name}/chart/Chart.yaml`]: `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`,
  });
  const files = {
    "kws.yaml": [
      "services:",
      "  web: { path: web, tags: [frontend] }",
      "  orders: { path: orders }",
      "  payments: { version: ^1.4, tags: [backend] }",
      "  ledger: { git: 'https://git.example.com/ledger.git', ref: main, version: 2.0.0 }",
      "  mailer: { path: mailer }",
      "stacks: { shop: {} }",
      "",
    ].join("\n"),
    ...service("web", "dependsOn: [orders]\n"),
    ...service("orders", "dependsOn: [payments]\ntags: [backend]\n"),
    ...service("mailer", ""),
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir.path, path)), { recursive: true });
    await writeFile(join(dir.path, path), text);
  }
});
afterAll(() => dir[Symbol.asyncDispose]());

const decrypt: Decrypt = () => Promise.reject(new Error("nothing is secret here"));

/** Packages that are what they are asked for; `dependsOn` by name. */
async function plan(
  selection: Selection,
  { every = false, dependsOn = {} }: { every?: boolean; dependsOn?: Record<string, string[]> } = {},
): Promise<Record<string, ServicePlan["how"]>> {
  const project = await loadProject(join(dir.path, "kws.yaml"));
  const services = openServices(project, { cache: dir.path, env: {}, clones: "ignore" });
  const chart = await readChart(join(dir.path, "web/chart"), "local", decrypt);
  const plans = await planStack(services, {
    project,
    stack: findStack(project),
    // Nothing has images to build.
    provider: {} as Provider,
    decrypt,
    packages: {
      every,
      prepare: async ({ name, pin }) => {
        const found = {
          service: name,
          chart: name,
          version: pin.version ?? "9.0.0",
          digest: "",
          images: [],
          dependsOn: dependsOn[name] ?? [],
          created: "",
          archive: new Uint8Array(),
          files: new Map(),
        };
        const prepared: Prepared = { found, chart, profile: "local", settings: [], renderFirst: false };
        return {
          prepared,
          source: { prefix: "", repository: () => Promise.reject(new Error("no images")) as never },
        };
      },
    },
    selection,
    signal: new AbortController().signal,
  });
  return Object.fromEntries(plans.map((one) => [one.service.name, one.how]));
}

test("services come from their source where it is at hand, and as packages in production", async () => {
  const all = { web: "build", orders: "build", mailer: "build", payments: "package", ledger: "package" };
  expect(await plan({})).toEqual(all);
  expect(await plan({ only: ["web"] }, { every: true })).toEqual({
    web: "package",
    orders: "package",
    payments: "package",
  });
});

test("what a package depends on comes with it, and an unknown name is refused", async () => {
  expect(await plan({ only: ["payments"] }, { dependsOn: { payments: ["ledger"] } })).toEqual({
    payments: "package",
    ledger: "package",
  });
  await expect(plan({ only: ["payments"] }, { dependsOn: { payments: ["ledgers"] } })).rejects.toMatchObject({
    code: "config",
    message: 'payments depends on "ledgers", which is not a service of the workspace',
  });
  await expect(plan({ only: ["web"] }, { dependsOn: { payments: ["web"] } })).rejects.toThrow("in a cycle");
});

test("what is asked for cannot be skipped as well", async () => {
  const both = { code: "usage", message: '"web" is asked for, and to be skipped too' };
  await expect(plan({ only: ["web", "orders"], skip: ["web"] })).rejects.toMatchObject(both);
  const all = { code: "usage", message: "all services with the tag frontend are skipped" };
  await expect(plan({ tags: ["frontend"], skip: ["web"] })).rejects.toMatchObject(all);
  expect(await plan({ only: ["web", "mailer"], skip: ["orders"] })).toEqual({
    web: "build",
    mailer: "build",
  });
});

test("tags choose with dependencies, and what is skipped is left out with what only it needs", async () => {
  expect(await plan({ tags: ["frontend"] })).toEqual({ web: "build", orders: "build", payments: "package" });
  expect(await plan({ tags: ["frontend"], skip: ["orders"] })).toEqual({ web: "build" });
  expect(await plan({ only: ["web"], noDependencies: true })).toEqual({ web: "build" });
  await expect(plan({ tags: ["fronted"] })).rejects.toMatchObject({ fix: 'Did you mean "frontend"?' });
  await expect(plan({ skip: ["order"] })).rejects.toMatchObject({ code: "not-found" });
});

test("what runs is waited for, and not touched unless it was chosen", async () => {
  expect(await plan({ only: ["web"], running: ["orders", "payments"] })).toEqual({
    web: "build",
    orders: "await",
  });
  expect(await plan({ only: ["orders"], running: ["orders"] })).toEqual({
    orders: "build",
    payments: "package",
  });
});
