import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { openLayout } from "@kws/oci/layout";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { type ArchiveFiles, readArchive, writeArchive } from "../packages/archive.ts";
import { locateTool } from "../tools/locate.ts";
import { releaseSize } from "./build-manifest.ts";
import { fits } from "./umbrella.ts";
import type { PackageSource } from "../packages/fetch.ts";
import { type Entry, fetchManifest, listManifests, readManifestFile, storeManifest } from "./manifest.ts";

let folder: string;
let helm: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-manifest-"));
  helm = (await locateTool("helm", { env: process.env, cache: join(homedir(), ".cache/kws") })).path;
});
afterAll(() => rm(folder, { recursive: true }));

async function source(name: string): Promise<PackageSource> {
  const layout = await openLayout(join(folder, name));
  return { prefix: "kws.local/shop", repository: (one) => layout.repository(one) };
}

/** A package of a chart with one ConfigMap that says what it was given. */
async function entry(
  service: string,
  version: string,
  more: Partial<Entry> & { template?: string } = {},
): Promise<Entry> {
  const configMap =
    more.template ??
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${service} }\ndata: { mode: {{ .Values.mode | quote }} }\n`;
  const files: ArchiveFiles = new Map([
    [`${service}/Chart.yaml`, Buffer.from(`apiVersion: v2\nname: ${service}\nversion: ${version}\n`)],
    [`${service}/values.yaml`, Buffer.from("mode: default\n")],
    [`${service}/templates/a.yaml`, Buffer.from(configMap)],
  ]);
  const archive = await writeArchive(files, 0);
  const digest = `sha256:${(version + service).replaceAll(/[^0-9a-f]/g, "").padEnd(64, "0")}`;
  const created = "2026-01-02T03:04:05Z";
  const found = {
    service,
    chart: service,
    version,
    digest,
    images: [],
    dependsOn: [],
    created,
    archive,
    files,
  };
  return { found, profile: "qa1", dependsOn: [], values: {}, ...more };
}

test("a manifest pins packages by version and digest, and the same set is the same manifest", async () => {
  const store = await source("pins");
  const api = await entry("api", "1.0.0", { values: { mode: "on" } });
  const web = await entry("web", "2.0.0-dev.1+gabcdefa", { dependsOn: ["api"] });
  const one = await storeManifest(store, "shop", [web, api]);
  expect(one).toMatchObject({ number: 1, changed: true, chart: "kws.local/shop/manifests/shop:1.0.0" });
  expect(await storeManifest(store, "shop", [api, web])).toMatchObject({
    number: 1,
    changed: false,
    digest: one.digest,
  });
  const elsewhere = await storeManifest(await source("elsewhere"), "shop", [api, web]);
  expect(Buffer.compare(elsewhere.archive, one.archive)).toBe(0);

  const two = await storeManifest(store, "shop", [await entry("api", "1.0.1"), web]);
  expect(two).toMatchObject({ number: 2, changed: true });
  expect(await fetchManifest(store, "shop")).toMatchObject({ number: 2 });
  expect(await fetchManifest(store, "shop:1")).toEqual({
    name: "shop",
    number: 1,
    created: "2026-01-02T03:04:05Z",
    packages: [
      { service: "api", version: "1.0.0", digest: api.found.digest, profile: "qa1", dependsOn: [] },
      {
        service: "web",
        version: "2.0.0-dev.1+gabcdefa",
        digest: web.found.digest,
        profile: "qa1",
        dependsOn: ["api"],
      },
    ],
  });
  const packed = await readArchive(one.archive, "shop");
  const inside = packed.get("shop/charts/api-1.0.0.tgz") ?? new Uint8Array();
  expect(Buffer.compare(inside, api.found.archive), "packages are in it as they are").toBe(0);
});

test("Helm renders it with each service's values, words among them that look like others to it", async () => {
  const api = await entry("api", "1.0.0", { values: { mode: "on" } });
  const { archive } = await storeManifest(await source("values"), "shop", [api, await entry("web", "1.0.0")]);
  const file = join(folder, "values.tgz");
  await writeFile(file, archive);
  const rendered = execFileSync(helm, ["template", "shop", file], { encoding: "utf8" });
  const modes = rendered
    .split("---")
    .flatMap((document) => (parse(document) as { data?: { mode: string } } | null)?.data?.mode ?? []);
  expect(modes).toEqual(["on", "default"]);
});

test("Helm refuses it while secrets in it are encrypted, and takes it with them opened", async () => {
  const sealed = { mode: "ENC[AES256_GCM,data:x]", list: [{ deep: "ENC[AES256_GCM,data:y]" }] };
  const one = await storeManifest(await source("sealed"), "shop", [
    await entry("api", "1.0.0", { values: sealed }),
  ]);
  const file = join(folder, "sealed.tgz");
  await writeFile(file, one.archive);
  const template = (values: object) =>
    execFileSync(helm, ["template", "shop", file, "--values=-"], {
      input: JSON.stringify(values),
      encoding: "utf8",
      stdio: "pipe",
    });
  expect(() => template({})).toThrow("/api/mode");
  expect(() => template({ api: { mode: "on" } })).toThrow("/api/list/0/deep");
  expect(template({ api: { mode: "on", list: [] } })).toContain('mode: "on"');
  const options = { helm, env: process.env, signal: AbortSignal.timeout(60_000), folder };
  expect(await releaseSize(one, options), "it is measured all the same").toBeGreaterThan(500);
});

test("manifests are listed with their packages, the newest first", async () => {
  const store = await source("listed");
  const api = await entry("api", "1.0.0");
  await storeManifest(store, "shop", [api]);
  await storeManifest(store, "shop", [api, await entry("web", "1.0.0")]);
  expect(await listManifests(store, ["shop", "other"])).toMatchObject([
    { name: "shop", number: 2, packages: 2, chart: "kws.local/shop/manifests/shop:2.0.0" },
    { name: "shop", number: 1, packages: 1, created: "2026-01-02T03:04:05Z" },
  ]);
});

test("one that is larger than Helm can keep is told from one that is not", async () => {
  const options = { helm, env: process.env, signal: AbortSignal.timeout(60_000), folder };
  // Random text hardly compresses.
  const template = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: big }\ndata:\n{{ range until 1100 }}  a{{ . }}: {{ randAscii 1000 | b64enc | quote }}\n{{ end }}`;
  const large = await storeManifest(await source("large"), "large", [
    await entry("api", "1.0.0", { template }),
  ]);
  expect(fits((await releaseSize(large, options)) ?? 0)).toBe(false);
  const small = await storeManifest(await source("small"), "small", [await entry("api", "1.0.0")]);
  expect(fits((await releaseSize(small, options)) ?? Infinity)).toBe(true);
});

test("what is not there, or no manifest, is told", async () => {
  const store = await source("absent");
  for (const reference of ["shop", "shop:1"]) {
    await expect(fetchManifest(store, reference)).rejects.toMatchObject({ code: "not-found" });
  }
  await expect(fetchManifest(store, "shop:latest")).rejects.toMatchObject({ code: "usage" });
  const file = join(folder, "api.tgz");
  await writeFile(file, (await entry("api", "1.2.0")).found.archive);
  await expect(readManifestFile(file)).rejects.toThrow("is not a manifest of kws");
});

const digest = `sha256:${"0".repeat(64)}`;
test.each([
  [`packages: { api: { version: 1.0.0, digest: latest, profile: qa, dependsOn: [] } }`, "digest"],
  [`packages: { ../api: { version: 1.0.0, digest: "${digest}", profile: qa, dependsOn: [] } }`, "not valid"],
  [`packages: { api: { version: 1.0.0, digest: "${digest}", profile: qa, dependsOn: [web] } }`, '"web"'],
  [`packages: { api: { version: 1.0.0, digest: "${digest}", profile: qa, dependsOn: [api] } }`, "api → api"],
  ["{}", "packages"],
])("a manifest that pins %s is refused", async (packages, message) => {
  const files: ArchiveFiles = new Map([
    ["shop/Chart.yaml", Buffer.from("apiVersion: v2\nname: shop\nversion: 1.0.0\n")],
    ["shop/packages.yaml", Buffer.from(packages)],
  ]);
  const file = join(folder, "hostile.tgz");
  await writeFile(file, await writeArchive(files, 0));
  await expect(readManifestFile(file)).rejects.toThrow(message);
});
