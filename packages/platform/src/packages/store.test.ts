import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openPackageStore, type PackageStore } from "./store.ts";

let folder: string;
let store: PackageStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kws-store-"));
  store = await openPackageStore(folder);
});
afterEach(() => rm(folder, { recursive: true }));

/** A package whose image has two layers: one of its own, and one that all have. */
async function add(version: string, own = version) {
  const builder = await openLayout(join(folder, "builder"));
  const repository = builder.repository("kws.local/shop/api");
  const put = async (text: string) => ({
    mediaType: "application/octet-stream",
    ...(await builder.blobs.put(text)),
  });
  const layers = [await put("common"), await put(`layer ${own}`)];
  const image = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await put(`config ${own}`),
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(image));
  const { digest } = await repository.pushManifest(bytes, mediaTypes.manifest);
  const annotations = { "kws.dev/service": "api", "kws.dev/images": `kws.local/shop/api@${digest}` };
  return store.add({
    archive: Buffer.from(`chart ${version}`),
    chartYaml: Buffer.from(JSON.stringify({ name: "api", version, annotations })),
    repository: "kws.local/shop/charts/api",
    version,
    images: [{ repository: "kws.local/shop/api", digest }],
    builder: { imageRepository: async () => repository },
  });
}

const blobs = async () => new Set(await readdir(join(folder, "packages/blobs/sha256")));
const named = (text: string) => sha256(text).slice("sha256:".length);

test("a package goes with what it alone had", async () => {
  const one = await add("1.0.0");
  const two = await add("2.0.0");
  const swept = await store.remove([one], Date.now());
  // The image's layer, configuration and manifest; the chart's three as well.
  expect(swept.blobs).toBe(6);
  const left = await blobs();
  expect(left.has(named("layer 1.0.0"))).toBe(false);
  expect(left.has(named("common"))).toBe(true);
  expect(await store.list()).toMatchObject([{ version: "2.0.0", digest: two.digest }]);
  expect(await store.repository("kws.local/shop/api").tags()).toEqual(["2.0.0"]);
  expect(await add("1.0.0"), "it can be made again").toMatchObject({ digest: one.digest, changed: true });
});

test("an image that another package has too stays", async () => {
  const one = await add("1.0.0", "same");
  await add("2.0.0", "same");
  await store.remove([one], Date.now());
  expect(await blobs()).toContain(named("layer same"));
});

test("what nothing names may be on its way, and goes after a day", async () => {
  const path = join(folder, "packages/blobs/sha256", named("left behind"));
  await writeFile(path, "left behind");
  await utimes(path, 0, 0);
  expect(await store.remove([], Date.now())).toEqual({ blobs: 0, bytes: 0 });
  expect(await store.remove([], Date.now() + 25 * 3_600_000)).toEqual({ blobs: 1, bytes: 11 });
});

test("packages that are added while others go are whole", async () => {
  const old = await add("1.0.0", "shared");
  const [, added] = await Promise.all([store.remove([old], Date.now()), add("2.0.0", "shared")]);
  expect(await store.list()).toMatchObject([{ version: "2.0.0", digest: added.digest }]);
  expect(await blobs()).toContain(named("layer shared"));
});
