/** Pulling from a registry in this process that serves what each test has put into it. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { ociArchitecture } from "@kws/oci/manifest";
import { listen } from "@kws/oci/testing/hostile-server";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Image } from "./image.ts";
import { createPuller, isFromRegistry } from "./pull.ts";
import { startRegistry } from "./registry-fixture.ts";
import type { RegistryFixture } from "./registry-fixture.ts";
import { openImageStore } from "./store.ts";
import type { LocalImageStore } from "./store.ts";

let folder: TempDir;
let store: LocalImageStore;
let registry: RegistryFixture;

beforeEach(async () => {
  folder = await tempDir("kws-pull");
  store = await openImageStore(join(folder.path, "store"));
  registry = await startRegistry();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** The bytes of a layer with one file. */
async function layerOf(text: string): Promise<Buffer> {
  const made = await store.addLayer([{ path: "file", type: "file", source: Buffer.from(text) }]);
  return readFile(store.blobs.path(made.descriptor.digest));
}

async function plainImage(text: string, tag?: string) {
  const bytes = await layerOf(text);
  return registry.putImage({ layers: [{ mediaType: mediaTypes.layer, bytes, diffId: sha256(bytes) }] }, tag);
}

const pull = (reference: string): Promise<Image> =>
  createPuller(store, {}).pull(`${registry.host}/${reference}`, {});
const fileOf = async (image: Image) => readFile(join(image.layers.at(-1) ?? "", "file"), "utf8");

test("layers of every compression, by OCI's names and Docker's, become the image's files", async () => {
  const [plain, gzip, zstd] = await Promise.all(["plain", "gzip", "zstd"].map(layerOf));
  if (plain === undefined || gzip === undefined || zstd === undefined) throw new Error("no layers");
  const digest = registry.putImage(
    {
      manifestType: mediaTypes.dockerManifest,
      configType: "application/vnd.docker.container.image.v1+json",
      layers: [
        { mediaType: mediaTypes.layer, bytes: plain, diffId: sha256(plain) },
        {
          mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
          bytes: gzipSync(gzip),
          diffId: sha256(gzip),
        },
        {
          mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
          bytes: zstdCompressSync(zstd),
          diffId: sha256(zstd),
        },
      ],
    },
    "1",
  ).digest;
  const image = await pull("team/orders:1");
  expect(image).toMatchObject({
    reference: `${registry.host}/team/orders:1`,
    digest,
    config: { Cmd: ["/app"] },
  });
  const files = await Promise.all(image.layers.map((layer) => readFile(join(layer, "file"), "utf8")));
  expect(files).toEqual(["plain", "gzip", "zstd"]);
  expect(await store.find(`${registry.host}/team/orders:1`)).toMatchObject({ digest });
});

test("of an index, the image for this machine is pulled and no other, and the index keeps its digest", async () => {
  const platform = { os: "linux", architecture: ociArchitecture(process.arch) };
  const here = await plainImage("here");
  const there = await plainImage("there");
  const manifests = [
    { ...there, platform: { os: "windows", architecture: platform.architecture } },
    { ...there, platform: { os: "linux", architecture: "mips" } },
    { ...here, platform },
  ];
  const index = registry.put(
    mediaTypes.index,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    "1",
  );
  const image = await pull("team/orders:1");
  expect(image.digest).toBe(index.digest);
  expect(await fileOf(image)).toBe("here");
  expect(registry.requests.join("\n")).not.toContain(there.digest);
  // Nothing of it is taken for rubbish, and it is found by the index's digest too.
  await store.gc({ minimumAgeMs: 0 });
  expect(await store.find(`${registry.host}/team/orders@${index.digest}`)).toMatchObject({
    digest: index.digest,
  });
  expect(await store.list()).toEqual([expect.objectContaining({ digest: index.digest })]);
});

test("an index without an image for this machine says which there are", async () => {
  const other = { ...(await plainImage("there")), platform: { os: "linux", architecture: "mips" } };
  registry.put(mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [other] }, "1");
  await expect(pull("team/orders:1")).rejects.toThrow(/has no image for linux\/\w+, but for linux\/mips/);
});

test("an image is pulled by its digest, and a tag beside it names nothing", async () => {
  const { digest } = await plainImage("one", "1");
  const image = await pull(`team/orders:other@${digest}`);
  expect(image.digest).toBe(digest);
  expect(await store.find(`${registry.host}/team/orders:other@${digest}`)).toMatchObject({ digest });
  expect(await store.find(`${registry.host}/team/orders:other`)).toBeUndefined();
});

test("a tag that has moved is pulled again, and what has not changed is not fetched again", async () => {
  await plainImage("one", "1");
  await pull("team/orders:1");
  const { digest } = await plainImage("two", "1");
  expect(await fileOf(await pull("team/orders:1"))).toBe("two");
  registry.requests.length = 0;
  expect((await pull("team/orders:1")).digest).toBe(digest);
  expect(registry.requests.filter((request) => request.includes("/blobs/"))).toEqual([]);
});

test("what is only asked about comes without layers, once for all who ask, and is not stored", async () => {
  const image = await plainImage("one", "1");
  const puller = createPuller(store, {});
  await store.gc({ minimumAgeMs: 0 });
  const configs = await Promise.all([1, 2, 3].map(() => puller.configOf(`${registry.host}/team/orders:1`)));
  expect(configs).toEqual([1, 2, 3].map(() => ({ Cmd: ["/app"] })));
  expect(registry.requests).toEqual([
    "GET /v2/team/orders/manifests/1",
    `GET /v2/team/orders/blobs/${registry.configOf(image)}`,
  ]);
  expect(await readdir(join(store.dir, "blobs/sha256"))).toEqual([]);
});

test("a registry that says nothing is not waited for when it is only asked about an image", async () => {
  const host = await listen(() => {});
  const asked = createPuller(store, {}, 10).configOf(`${host}/team/orders:1`);
  await expect(asked).rejects.toMatchObject({
    code: "timeout",
    message: `${host}/team/orders:1: ${host} gave no answer in 0.01 s`,
  });
});

test("a pull says how many bytes of how many are here", async () => {
  await plainImage("one", "1");
  const told: number[][] = [];
  await createPuller(store, {}).pull(`${registry.host}/team/orders:1`, {
    onProgress: (bytes, total) => told.push([bytes, total]),
  });
  const [bytes = 0, total = 1] = told.at(-1) ?? [];
  expect(total).toBeGreaterThan(1000);
  expect(bytes).toBe(total);
});

test("two at once fetch each blob once", async () => {
  await plainImage("one", "1");
  const puller = createPuller(store, {});
  await Promise.all([1, 2, 3].map(() => puller.pull(`${registry.host}/team/orders:1`, {})));
  const blobs = registry.requests.filter(
    (request) => request.startsWith("GET") && request.includes("/blobs/"),
  );
  expect(blobs).toHaveLength(new Set(blobs).size);
});

test.each([
  ["a chart", "application/vnd.cncf.helm.config.v1+json", mediaTypes.layer, /is not a container image/],
  [
    "one with layers that may not be distributed",
    mediaTypes.config,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    /may not be distributed/,
  ],
  ["one with layers of another kind", mediaTypes.config, "application/x-squashfs", /cannot be unpacked/],
])("%s is refused before its layers are fetched", async (_, configType, mediaType, why) => {
  const bytes = await layerOf("one");
  registry.putImage({ configType, layers: [{ mediaType, bytes, diffId: sha256(bytes) }] }, "1");
  await expect(pull("team/orders:1")).rejects.toThrow(why);
  expect(registry.requests.filter((request) => request.includes("/blobs/"))).toEqual([]);
});

test("an image of a size that would fill the disk is refused before it does", async () => {
  const config = registry.put(mediaTypes.config, {});
  const layer = { mediaType: mediaTypes.layer, digest: sha256("huge"), size: 2 ** 50 };
  registry.put(mediaTypes.manifest, { schemaVersion: 2, config, layers: [layer] }, "1");
  await expect(pull("team/orders:1")).rejects.toThrow(/is larger than an image may be/);
});

test("an image that is damaged or broken off gets no name", async () => {
  const bytes = await layerOf("one");
  registry.putImage({ layers: [{ mediaType: mediaTypes.layer, bytes, diffId: sha256("other") }] }, "1");
  await expect(pull("team/orders:1")).rejects.toThrow(/is not what the image's configuration says/);
  await plainImage("two", "2");
  const layer = sha256(await layerOf("two"));
  await rmBlob(layer);
  registry.contents.delete(layer);
  await expect(pull("team/orders:2")).rejects.toThrow(/does not have it \(404\)/);
  expect(await store.list()).toEqual([]);
});

async function rmBlob(digest: string): Promise<void> {
  await store.gc({ minimumAgeMs: 0 });
  expect(await store.blobs.has(digest)).toBe(false);
}

test("names that are made here are asked for nowhere", async () => {
  await expect(createPuller(store, {}).pull("kws.local/node:4", {})).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("are made here, not pulled"),
  });
  expect(isFromRegistry("kws.local/node:24")).toBe(false);
  expect(isFromRegistry("shop/web:1")).toBe(false);
  expect(isFromRegistry("registry.example.com/web")).toBe(true);
});
