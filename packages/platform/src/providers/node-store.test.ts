import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { type Layout, openLayout } from "@kws/oci/layout";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadImage } from "./node-store.ts";

let dir: TempDir;
let layout: Layout;
/** A `ctr` that says it has the layer, and takes an archive only where that is in it. */
let ctr: string[];
const layer = Buffer.alloc(2048, 1);

beforeEach(async () => {
  dir = await tempDir("kws-test");
  layout = await openLayout(join(dir.path, "images"));
  const script = join(dir.path, "ctr");
  await writeFile(
    script,
    `case "$*" in
      *"content ls"*) echo ${sha256(layer)};;
      *"images import"*) tar --list > ${dir.path}/entries; grep -q ${sha256(layer).slice(7)} ${dir.path}/entries;;
    esac`,
  );
  ctr = ["/bin/sh", script];
});
afterEach(() => dir[Symbol.asyncDispose]());

async function load() {
  const repository = layout.repository("kws.local/shop/orders");
  const document = { architecture: "amd64", os: "linux", rootfs: { diff_ids: [sha256(layer)] } };
  const config = await layout.blobs.put(JSON.stringify(document));
  await layout.blobs.put(layer);
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: [{ mediaType: mediaTypes.layer, digest: sha256(layer), size: layer.length }],
  };
  const { digest } = await repository.pushManifest(
    Buffer.from(JSON.stringify(manifest)),
    mediaTypes.manifest,
  );
  return (options: { env: NodeJS.ProcessEnv }) =>
    loadImage({ kind: "containerd", node: "one", command: ctr }, { repository, tag: "dev", digest }, options);
}

test("a node that counted on a layer which it does not have is sent all of them", async () => {
  const send = await load();
  expect(await send({ env: { PATH: process.env["PATH"] } })).toEqual({ sent: 2048, total: 2048 });
});

test("a layer that cannot be read here is told as that, and not as an archive that ends too early", async () => {
  const send = await load();
  await rm(layout.blobs.path(sha256(layer)));
  await expect(send({ env: { PATH: process.env["PATH"] } })).rejects.toMatchObject({ code: "not-found" });
});
