/** Garbage collection of the image store: what no reference reaches and no one has just written goes. */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import type { Descriptor } from "@kws/oci/descriptor";
import { readImageDocument, readManifest } from "@kws/oci/manifest";
import { hexOf } from "@kws/oci/descriptor";
import { manifestHere } from "./platform.ts";
import type { LocalImageStore } from "./store.ts";
import { removeTree } from "./unpack.ts";

export interface CollectOptions {
  /** Younger content stays, since a build may be about to refer to it; an hour unless given. */
  minimumAgeMs?: number;
  /** Unpacked layers that containers use. */
  keepLayers?: string[];
  /** Forget the results of build steps too. */
  buildCache?: boolean;
}

export interface Collected {
  blobs: number;
  layers: number;
  /** Bytes of the removed blobs. */
  bytes: number;
}

/** Runs under the lock of the reference table. */
export async function collectGarbage(
  store: LocalImageStore,
  references: Descriptor[],
  options: CollectOptions,
): Promise<Collected> {
  const minimumAge = options.minimumAgeMs ?? 3_600_000;
  const keep = new Set((options.keepLayers ?? []).map((path) => path.split("/").at(-1) ?? ""));
  const keepBlobs = new Set<string>();
  for (const { digest: named } of references) {
    const digest = await manifestHere(store.blobs, named, named);
    const manifest = readManifest(await store.blobs.json(digest), digest);
    const document = readImageDocument(await store.blobs.json(manifest.config.digest), digest);
    for (const blob of [named, digest, manifest.config.digest, ...manifest.layers.map((l) => l.digest)]) {
      keepBlobs.add(hexOf(blob));
    }
    let chain = "";
    for (const diffId of document.rootfs.diff_ids) {
      chain = chain === "" ? diffId : sha256(`${chain} ${diffId}`);
      keep.add(hexOf(diffId));
      keep.add(`${hexOf(diffId)}.opaque`);
      keep.add(hexOf(chain));
    }
  }
  const collected: Collected = { blobs: 0, layers: 0, bytes: 0 };
  for (const { path, size } of await aged(store, "blobs/sha256", keepBlobs, minimumAge)) {
    await rm(path, { force: true });
    collected.blobs += 1;
    collected.bytes += size;
  }
  for (const { path } of await aged(store, "layers", keep, minimumAge)) {
    await removeTree(path);
    collected.layers += 1;
  }
  for (const { path } of await aged(store, "ingest", new Set(), minimumAge)) await removeTree(path);
  if (options.buildCache === true) {
    for (const { path } of await aged(store, "cache", new Set(), minimumAge)) {
      await rm(path, { force: true });
    }
  }
  return collected;
}

async function aged(store: LocalImageStore, folder: string, keep: Set<string>, age: number) {
  const found: { path: string; size: number }[] = [];
  for (const name of await namesIn(join(store.dir, folder))) {
    if (keep.has(name)) continue;
    const path = join(store.dir, folder, name);
    const { ctimeMs, size } = await stat(path);
    if (Date.now() - ctimeMs >= age) found.push({ path, size });
  }
  return found;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}
