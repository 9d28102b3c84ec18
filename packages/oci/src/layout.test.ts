import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copy } from "./copy.ts";
import { mediaTypes, sha256 } from "./descriptor.ts";
import { openLayout } from "./layout.ts";
import type { Layout } from "./layout.ts";
import type { Repository } from "./repository.ts";

let folder: TempDir;
let layout: Layout;
beforeEach(async () => {
  folder = await tempDir("kws-layout");
  layout = await openLayout(folder.path);
});
afterEach(() => folder[Symbol.asyncDispose]());

const descriptorOf = (content: string, mediaType = "text/plain") => ({
  mediaType,
  digest: sha256(content),
  size: Buffer.byteLength(content),
});

async function* only(content: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(content);
}

/** An artifact with one layer. */
async function push(repository: Repository, content: string, tag?: string, layerType?: string) {
  const config = descriptorOf("{}");
  const layer = descriptorOf(content, layerType);
  await repository.pushBlob(config, () => only("{}"));
  await repository.pushBlob(layer, () => only(content));
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return repository.pushManifest(bytes, mediaTypes.manifest, tag === undefined ? {} : { tag });
}

test("repositories share content and not tags", async () => {
  const orders = layout.repository("team/orders");
  const pushed = await push(orders, "one", "1.0.0");
  expect(await orders.resolve("1.0.0")).toEqual(pushed);
  expect(await orders.tags()).toEqual(["1.0.0"]);
  const payments = layout.repository("team/payments");
  expect(await payments.resolve("1.0.0")).toBeUndefined();
  expect(await payments.tags()).toEqual([]);
  expect(await payments.resolve(pushed.digest)).toEqual(pushed);
  await expect(payments.manifest("1.0.0")).rejects.toMatchObject({ code: "not-found" });
});

test("a tag moves, unless it must not", async () => {
  const orders = layout.repository("team/orders");
  const first = await push(orders, "one", "1");
  const second = await push(orders, "two", "1");
  expect(await orders.resolve("1")).toEqual(second);
  expect(await orders.tags()).toEqual(["1"]);
  const { bytes } = await orders.manifest(first.digest);
  const again = orders.pushManifest(bytes, mediaTypes.manifest, { tag: "1", overwrite: false });
  await expect(again).rejects.toMatchObject({
    code: "conflict",
    message: `team/orders:1 exists with other content: it is ${second.digest}, and this is ${first.digest}`,
  });
});

test("content that is not what its descriptor says is not kept, nor is a part of it", async () => {
  const orders = layout.repository("team/orders");
  const wanted = descriptorOf("wanted");
  for (const given of ["change", "want", "wanted and more"]) {
    await expect(orders.pushBlob(wanted, () => only(given))).rejects.toThrow(
      `content that should be ${wanted.digest} is ${sha256(given)}`,
    );
  }
  expect(await orders.hasBlob(wanted.digest)).toBe(false);
  expect(await readdir(join(folder.path, "ingest"))).toEqual([]);
});

test("content that was changed on the disk is refused when it is read", async () => {
  const orders = layout.repository("team/orders");
  const { digest } = await push(orders, "one", "1");
  const layer = descriptorOf("one");
  await writeFile(layout.blobs.path(layer.digest), "two");
  await expect(readAll(orders, "one")).rejects.toThrow(/should be/);
  await writeFile(layout.blobs.path(digest), "{}");
  await expect(orders.manifest("1")).rejects.toThrow(/is damaged/);
});

async function readAll(repository: Repository, content: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.blob(descriptorOf(content))) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

test("a copy has the index and all below it, and a layer that may not be distributed is refused", async () => {
  const from = layout.repository("a");
  const children = [await push(from, "one"), await push(from, "two")];
  const index = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: children }),
  );
  const descriptor = await from.pushManifest(index, mediaTypes.index);
  await using other = await tempDir("kws-layout");
  const to = (await openLayout(other.path)).repository("b");
  await copy(from, to, descriptor, { tag: "1" });
  expect(await to.resolve("1")).toEqual(descriptor);
  expect(await readAll(to, "two")).toBe("two");

  const foreign = await push(
    from,
    "windows",
    "2",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  );
  await expect(copy(from, to, foreign, { tag: "2" })).rejects.toThrow(/may not be distributed/);
  expect(await to.tags()).toEqual(["1"]);
});

test("a copy that fails or is aborted leaves no name behind", async () => {
  const from = layout.repository("a");
  const descriptor = await push(from, "one");
  await using other = await tempDir("kws-layout");
  const to = (await openLayout(other.path)).repository("b");
  const broken: Repository = {
    ...from,
    async *blob() {
      yield Buffer.from("o");
      throw new Error("the disk is gone");
    },
  };
  await expect(copy(broken, to, descriptor, { tag: "1" })).rejects.toThrow("the disk is gone");
  await expect(
    copy(from, to, descriptor, { tag: "1", signal: AbortSignal.abort(new Error("stop")) }),
  ).rejects.toThrow("stop");
  expect(await to.tags()).toEqual([]);
});

test("what a killed process left half-written is removed a day later", async () => {
  const [old, young] = [await layout.blobs.temporary(), await layout.blobs.temporary()];
  await Promise.all([old, young].map((path) => writeFile(path, "half")));
  const longAgo = Date.now() / 1000 - 2 * 86_400;
  await utimes(old, longAgo, longAgo);
  await openLayout(folder.path);
  expect(await readdir(join(folder.path, "ingest"))).toEqual([basename(young)]);
});

/** Pushes tags without end, and prints each that was acknowledged. */
const writer = `
const { openLayout } = await import(process.argv[1]);
const repository = (await openLayout(process.argv[2])).repository("r");
for (let n = 0; ; n++) {
  const tag = process.argv[3] + n;
  await repository.pushManifest(Buffer.from(JSON.stringify({ config: {}, layers: [], tag })), "x/y", { tag });
  process.stdout.write(tag + "\\n");
}`;

test("writers at once lose no tag of each other's, and one that is killed loses none that it was told of", async () => {
  const entry = fileURLToPath(new URL("layout.ts", import.meta.url));
  const acknowledged: string[] = [];
  const writers = ["a", "b", "c"].map((prefix) =>
    spawn(process.execPath, ["--input-type=module", "-e", writer, entry, folder.path, prefix], {
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
  await Promise.all(
    writers.map(async (child) => {
      let seen = 0;
      for await (const tag of createInterface({ input: child.stdout })) {
        acknowledged.push(tag);
        seen += 1;
        if (seen === 15) child.kill("SIGKILL");
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }),
  );
  const tags = await layout.repository("r").tags();
  expect(tags).toEqual(expect.arrayContaining(acknowledged));
  // One more at most of each: written, and killed before it could say so.
  expect(tags.length).toBeLessThanOrEqual(acknowledged.length + writers.length);
  expect(JSON.parse(await readFile(join(folder.path, "index.json"), "utf8")).schemaVersion).toBe(2);
}, 40_000);
