import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readChart } from "../charts/chart.ts";
import { writeArchive } from "../packages/archive.ts";
import type { Release } from "../services/releases.ts";
import { locateTool } from "../tools/locate.ts";
import { type FoundPackage, type PackageSource, unpackPackage } from "../packages/fetch.ts";
import type { Manifest } from "./manifest.ts";
import type { Prepared } from "../packages/prepare.ts";
import { chooseForm, planUmbrella, type Umbrella } from "./umbrella.ts";

let folder: string;
let helm: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-umbrella-"));
  helm = (await locateTool("helm", { env: process.env, cache: join(homedir(), ".cache/kws") })).path;
});
afterAll(() => rm(folder, { recursive: true }));

const configMap = (name: string, annotation = "") =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, annotations: { a: b${annotation} } }\n`;

async function part(service: string, template: string): Promise<Prepared> {
  const files = new Map([
    [`${service}/Chart.yaml`, Buffer.from(`apiVersion: v2\nname: ${service}\nversion: 1.0.0\n`)],
    [`${service}/templates/a.yaml`, Buffer.from(template)],
  ]);
  const found: FoundPackage = {
    service,
    chart: service,
    version: "1.0.0",
    digest: `sha256:${"0".repeat(64)}`,
    images: [],
    dependsOn: [],
    created: "2026-01-02T03:04:05Z",
    archive: await writeArchive(files, 0),
    files,
  };
  const dir = await unpackPackage(found, await mkdtemp(join(folder, "unpacked-")));
  const chart = await readChart(dir, "qa", () => Promise.reject(new Error("no secrets")));
  return { found, chart, profile: "qa", settings: [], renderFirst: false };
}

/** A manifest of `api` and a `web` that depends on it. */
async function plan(web: string, values: object = {}): Promise<Umbrella> {
  const parts = [await part("api", configMap("api")), await part("web", web)];
  for (const one of parts) Object.assign(one.chart.values, values);
  const pin = { version: "1.0.0", digest: `sha256:${"0".repeat(64)}`, profile: "qa" };
  const manifest: Manifest = {
    name: "shop",
    number: 7,
    created: "",
    packages: [
      { ...pin, service: "api", dependsOn: [] },
      { ...pin, service: "web", dependsOn: ["api"] },
    ],
  };
  const source: PackageSource = {
    prefix: "kws.local/shop",
    repository: () => Object.assign({ remote: undefined }) as ReturnType<PackageSource["repository"]>,
  };
  const signal = AbortSignal.timeout(60_000);
  return planUmbrella(manifest, parts, { source, folder, helm, env: process.env, signal, namespace: "qa" });
}

test("packages that nothing keeps apart are one release", async () => {
  const { obstacle, unit, size } = await plan(configMap("web"));
  expect(obstacle).toBeUndefined();
  expect(unit).toMatchObject({ release: "shop", version: "7.0.0", together: true });
  expect(size).toBeGreaterThan(100);
});

test("a hook that runs before what its service depends on is there keeps them apart", async () => {
  const early = await plan(configMap("web", ", helm.sh/hook: pre-install"));
  expect(early.obstacle).toContain("web has hooks");
  expect((await plan(configMap("web", ", helm.sh/hook: post-install"))).obstacle).toBeUndefined();
});

test("objects that are called after their release keep them apart", async () => {
  const { obstacle } = await plan(configMap("{{ .Release.Name }}-web"));
  expect(obstacle).toBe("web would have other names: ConfigMap shop-web, after the release");
});

test("values that are still encrypted are refused", async () => {
  const sealed = { mode: "ENC[AES256_GCM,data:x]" };
  await expect(
    plan(`${configMap("web")}data: { mode: {{ .Values.mode | quote }} }\n`, sealed),
  ).rejects.toThrow("/web/mode");
});

const release = (service: string, parts: string[] = []): Release => ({
  service,
  release: parts.length === 0 ? service : "shop",
  parts: parts.map((part) => ({ service: part, version: "1.0.0", profile: "qa" })),
  stack: "qa",
  namespace: "qa",
  workspace: "shop",
  revision: 1,
  status: "deployed",
  fingerprint: "",
  version: "1.0.0",
  profile: "qa",
  workloads: 1,
  secret: "s",
  updatedAt: "",
});
const umbrella = (obstacle?: string) => () =>
  Promise.resolve({ size: 2048, ...(obstacle === undefined ? {} : { obstacle }) } as Umbrella);
const together = [release("api", ["api", "web"]), release("web", ["api", "web"])];

test("what is new goes together where it can, and the reason is told", async () => {
  const free = { there: [], perService: false };
  expect(await chooseForm(free, umbrella())).toMatchObject({
    together: true,
    reason: "it has 2 KiB of the 1024 KiB that Helm can keep",
  });
  expect(await chooseForm(free, umbrella("too large"))).toMatchObject({
    together: false,
    reason: "too large",
  });
  expect(await chooseForm({ there: [], perService: true }, umbrella())).toMatchObject({ together: false });
});

test("a namespace keeps its form", async () => {
  const apart = { there: [release("api")], perService: false };
  expect(await chooseForm(apart, umbrella())).toMatchObject({ together: false });
  expect(await chooseForm({ there: together, perService: false }, umbrella())).toMatchObject({
    together: true,
  });
  for (const [perService, obstacle] of [
    [true, undefined],
    [false, "too large"],
  ] as const) {
    await expect(chooseForm({ there: together, perService }, umbrella(obstacle))).rejects.toMatchObject({
      code: "conflict",
    });
  }
});
