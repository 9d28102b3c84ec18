import { type TempDir, tempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import type { Repository } from "@kws/oci/repository";
import { afterEach, beforeEach, expect, test } from "vitest";
import { publishPackage } from "./publish.ts";
import { openPackageStore, type PackageStore } from "./store.ts";

const registry = "registry.example.com/charts/shop";
let dir: TempDir;
let store: PackageStore;
/** Stands for a registry: the same interface on a folder. */
let remote: (name: string) => Repository;

beforeEach(async () => {
  dir = await tempDir("kws-publish");
  store = await openPackageStore(dir.path);
  const layout = await openLayout(`${dir.path}/registry`);
  remote = (name) => layout.repository(name);
});
afterEach(() => dir[Symbol.asyncDispose]());

/** A package of one image. */
async function add(version: string, content: string) {
  const images = (await openLayout(`${dir.path}/images`)).repository("kws.local/shop/api");
  const config = Buffer.from(JSON.stringify({ content }));
  const descriptor = { mediaType: mediaTypes.config, digest: sha256(config), size: config.length };
  await images.pushBlob(descriptor, () => once(config));
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config: descriptor, layers: [] };
  const { digest } = await images.pushManifest(Buffer.from(JSON.stringify(manifest)), mediaTypes.manifest);
  return store.add({
    archive: Buffer.from(content),
    chartYaml: Buffer.from(
      `name: api\nversion: ${version}\nannotations: { kws.dev/service: api, kws.dev/images: "${registry}/api@${digest}" }\n`,
    ),
    repository: `${registry}/charts/api`,
    version,
    images: [{ repository: `${registry}/api`, digest }],
    builder: { imageRepository: () => Promise.resolve(images) },
  });
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

const publish = (one: Awaited<ReturnType<typeof add>>, to = remote) =>
  publishPackage(one, { store, registries: { repository: to } });

test("chart and images arrive as they are; the second time there is nothing to do", async () => {
  const one = await add("1.0.0+g1", "first");
  expect(one.changed).toBe(true);
  expect(await publish(one)).toBe(true);
  expect(await publish(one)).toBe(false);
  const chart = await remote(`${registry}/charts/api`).resolve("1.0.0_g1");
  expect(chart?.digest).toBe(one.digest);
  const image = await remote(`${registry}/api`).resolve("1.0.0_g1");
  expect(one.images).toEqual([`${registry}/api@${image?.digest}`]);
});

test("the list of packages has charts alone, whatever the registry's path", async () => {
  const one = await add("1.0.0", "first");
  const { changed: _, ...listed } = await add("2.0.0", "second");
  expect(await store.list()).toMatchObject([{ digest: one.digest }, listed]);
});

test("a version that is published with other content stays", async () => {
  const one = await add("1.0.0", "first");
  await publish(one);
  const elsewhere = await tempDir("kws-publish-other");
  store = await openPackageStore(elsewhere.path);
  const other = await add("1.0.0", "second");
  await expect(publish(other)).rejects.toMatchObject({ code: "conflict" });
  expect((await remote(`${registry}/charts/api`).resolve("1.0.0"))?.digest).toBe(one.digest);
  await elsewhere[Symbol.asyncDispose]();
});

test("the chart is not to be seen before its images are there", async () => {
  const one = await add("1.0.0", "first");
  const failing = (name: string): Repository =>
    name === `${registry}/api`
      ? { ...remote(name), pushBlob: () => Promise.reject(new Error("the registry died")) }
      : remote(name);
  await expect(publish(one, failing)).rejects.toThrow("the registry died");
  expect(await remote(`${registry}/charts/api`).resolve("1.0.0")).toBeUndefined();
  expect(await publish(one)).toBe(true);
});

test("what was not committed is not published", async () => {
  const one = await add("1.0.0+g1-dirty", "first");
  await expect(publish(one)).rejects.toThrow("holds what is not committed");
});
