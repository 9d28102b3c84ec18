/**
 * The image store: a folder in the OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md),
 * shared by all clusters of a user. Blobs are named by their digests and never change; only `index.json`, the table of
 * references, does, under a lock. Beside the layout lie `layers/` (unpacked, overlay lower directories), `cache/` (results of
 * build steps) and `ingest/` (what is not yet whole).
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError, isErrno } from "@kws/base/errors";
import type { Blobs } from "@kws/oci/blobs";
import { digestPattern, hexOf, mediaTypes, sha256 } from "@kws/oci/descriptor";
import { openLayout, referenceAnnotation } from "@kws/oci/layout";
import { mediaTypeOf, ociArchitecture, readImageDocument, readManifest } from "@kws/oci/manifest";
import type { History, ImageConfig, ImageDocument, Layer, Manifest } from "@kws/oci/manifest";
import { canonicalReference, parseReference } from "@kws/oci/reference";
import type { Repository } from "@kws/oci/repository";
import { exportArchive, importArchive } from "./archive.ts";
import { collectGarbage } from "./gc.ts";
import type { Collected, CollectOptions } from "./gc.ts";
import type { Image, ImageStore } from "./image.ts";
import { writeLayer } from "./layer.ts";
import type { LayerEntry } from "./layer.ts";
import { manifestHere } from "./platform.ts";
import { decompressed } from "./tar-stream.ts";
import { defaultLimits, removeTree, unpackLayer } from "./unpack.ts";
import type { UnpackLimits } from "./unpack.ts";

export interface NewImage {
  config: ImageConfig;
  layers: Layer[];
  history?: History[];
  /** RFC 3339; the epoch unless given, so that the digest depends on content alone. */
  created?: string;
  references: string[];
}

/** An image's documents, for those who build on it. */
export interface StoredImage {
  /** Of the manifest for this machine. */
  digest: string;
  /** What the reference names: that manifest, or an index that it was chosen from. */
  named: string;
  manifest: Manifest;
  document: ImageDocument;
  layers: Layer[];
}

export interface LocalImageStore extends ImageStore {
  readonly dir: string;
  readonly blobs: Blobs;
  /** What was pulled goes in by it, and what is to be pushed comes out. */
  repository(name: string): Repository;
  /** Reads an OCI or docker-save archive, compressed or not; answers its (first) image, with the references in it. */
  import(archive: string | Readable, options?: { references?: string[] }): Promise<Image>;
  /** Writes an archive that is both an OCI layout and readable by `docker load`. */
  export(reference: string, path: string): Promise<void>;
  /** Removes what no reference reaches. */
  gc(options?: CollectOptions): Promise<Collected>;
  /** Gives the image further references. */
  tag(digest: string, references: string[]): Promise<void>;
  /** The documents of a stored image, without unpacking it. */
  inspect(reference: string): Promise<StoredImage | undefined>;
  /** Writes a layer with the entries; equal entries give an equal layer. */
  addLayer(entries: LayerEntry[]): Promise<Layer>;
  addImage(image: NewImage): Promise<{ digest: string }>;
  /** The layers unpacked, the lowest first. */
  unpack(layers: Layer[]): Promise<string[]>;
  /** What a build step kept under a key; undefined where there is nothing or it cannot be read. */
  recall(key: string): Promise<unknown>;
  remember(key: string, value: unknown): Promise<void>;
}

export interface StoreOptions {
  /** For layers of archives. */
  limits?: UnpackLimits;
  /** Restore owners while unpacking; as root unless given. */
  owners?: boolean;
}

export async function openImageStore(dir: string, options: StoreOptions = {}): Promise<LocalImageStore> {
  const layout = await openLayout(dir);
  await mkdir(join(dir, "layers"), { recursive: true });
  await mkdir(join(dir, "cache"), { recursive: true });
  const { blobs } = layout;
  const limits = options.limits ?? defaultLimits;
  const owners = options.owners ?? process.getuid?.() === 0;

  const digestOf = async (reference: string): Promise<string | undefined> => {
    if (digestPattern.test(reference)) {
      return (await blobs.has(reference)) ? reference : undefined;
    }
    const { digest } = parseReference(reference);
    if (digest !== undefined) return (await blobs.has(digest)) ? digest : undefined;
    const wanted = canonicalReference(reference);
    const found = await layout.references();
    return found.find((entry) => entry.annotations?.[referenceAnnotation] === wanted)?.digest;
  };

  const inspect = async (reference: string): Promise<StoredImage | undefined> => {
    const named = await digestOf(reference);
    if (named === undefined || !(await blobs.has(named))) return undefined;
    const digest = await manifestHere(blobs, named, reference);
    if (!(await blobs.has(digest))) return undefined;
    const manifest = readManifest(await blobs.json(digest), reference);
    const document = readImageDocument(await blobs.json(manifest.config.digest), reference);
    const diffIds = document.rootfs.diff_ids;
    if (diffIds.length !== manifest.layers.length) {
      throw new UserError(`${reference}: the configuration and the manifest disagree about layers`, {
        code: "config",
      });
    }
    const layers = manifest.layers.map((descriptor, at) => ({
      descriptor,
      diffId: diffIds[at] ?? "",
    }));
    return { digest, named, manifest, document, layers };
  };

  const unpack = async (layers: Layer[]): Promise<string[]> => {
    // Only an opaque layer needs those below it, and it waits for them itself.
    const folders: Promise<string>[] = [];
    let chain = "";
    for (const layer of layers) {
      chain = chain === "" ? layer.diffId : sha256(`${chain} ${layer.diffId}`);
      const below = [...folders];
      const folder = unpackOne(layer, chain, () => Promise.all(below));
      folder.catch(() => {});
      folders.push(folder);
    }
    return Promise.all(folders);
  };

  const unpackOne = async (layer: Layer, chain: string, below: () => Promise<string[]>): Promise<string> => {
    const folder = join(dir, "layers", hexOf(layer.diffId));
    const opaqueMark = `${folder}.opaque`;
    const chained = join(dir, "layers", hexOf(chain));
    // A layer with opaque directories is unpacked once for each stack of layers below it.
    const target = (await exists(opaqueMark)) ? chained : folder;
    if (await exists(target)) return target;
    const temporary = await blobs.temporary();
    await mkdir(temporary, { mode: 0o755 });
    try {
      const hash = createHash("sha256");
      const tar = decompressed(
        createReadStream(blobs.path(layer.descriptor.digest), { highWaterMark: 1 << 20 }),
      );
      const { opaque } = await unpackLayer(hashed(tar, hash), temporary, {
        archive: `the layer ${layer.diffId}`,
        below,
        owners,
        limits,
      });
      if (`sha256:${hash.digest("hex")}` !== layer.diffId) {
        throw new UserError(`the layer ${layer.diffId} is not what the image's configuration says`, {
          code: "config",
          fix: "export the image again",
        });
      }
      if (opaque) await writeIfAbsent(opaqueMark, "");
      const place = opaque ? chained : folder;
      await renameUnlessThere(temporary, place);
      return place;
    } finally {
      await removeTree(temporary);
    }
  };

  const addImage = async (image: NewImage): Promise<{ digest: string }> => {
    const document: ImageDocument = {
      created: image.created ?? "1970-01-01T00:00:00Z",
      architecture: ociArchitecture(process.arch),
      os: "linux",
      config: image.config,
      rootfs: { type: "layers", diff_ids: image.layers.map((layer) => layer.diffId) },
      ...(image.history === undefined ? {} : { history: image.history }),
    };
    const config = await blobs.put(JSON.stringify(document));
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, ...config },
      layers: image.layers.map((layer) => layer.descriptor),
    };
    const { digest } = await blobs.put(JSON.stringify(manifest));
    await store.tag(digest, image.references);
    return { digest };
  };

  const store: LocalImageStore = {
    dir,
    blobs,
    repository: (name) => layout.repository(name),
    inspect,
    unpack,
    addImage,
    async find(reference) {
      const stored = await inspect(reference);
      if (stored === undefined) return undefined;
      return {
        reference,
        digest: stored.named,
        config: stored.document.config,
        layers: await unpack(stored.layers),
        size: sizeOf(stored.manifest),
      };
    },
    async list() {
      const byDigest = new Map<string, string[]>();
      for (const entry of await layout.references()) {
        const references = byDigest.get(entry.digest) ?? [];
        const name = entry.annotations?.[referenceAnnotation];
        byDigest.set(entry.digest, name === undefined ? references : [...references, name]);
      }
      return Promise.all(
        [...byDigest].map(async ([digest, references]) => ({
          references,
          digest,
          size: sizeOf(readManifest(await blobs.json(await manifestHere(blobs, digest, digest)), digest)),
        })),
      );
    },
    async remove(reference) {
      const digest = await digestOf(reference);
      if (digest === undefined) return;
      const byDigest = digestPattern.test(reference) || parseReference(reference).digest !== undefined;
      const wanted = byDigest ? undefined : canonicalReference(reference);
      await layout.changeReferences((now) =>
        now.filter((entry) =>
          wanted === undefined
            ? entry.digest !== digest
            : entry.annotations?.[referenceAnnotation] !== wanted,
        ),
      );
    },
    async tag(digest, references) {
      const { size } = await stat(blobs.path(digest));
      const mediaType = mediaTypeOf(await blobs.read(digest), digest);
      const names = references.map(canonicalReference);
      await layout.changeReferences((now) => {
        const kept = now.filter(
          (entry) =>
            !names.includes(entry.annotations?.[referenceAnnotation] ?? "") &&
            // An image without a name needs one entry, so that gc keeps it, and no more.
            !(entry.digest === digest && entry.annotations?.[referenceAnnotation] === undefined),
        );
        const base = { mediaType, digest, size };
        if (names.length === 0) {
          return kept.some((entry) => entry.digest === digest) ? kept : [...kept, base];
        }
        for (const name of names) {
          kept.push({ ...base, annotations: { [referenceAnnotation]: name } });
        }
        return kept;
      });
    },
    async addLayer(entries) {
      const temporary = await blobs.temporary();
      try {
        const hash = createHash("sha256");
        const { size } = await writeLayer(temporary, entries, hash);
        const digest = `sha256:${hash.digest("hex")}`;
        await blobs.adopt(temporary, digest);
        return { descriptor: { mediaType: mediaTypes.layer, digest, size }, diffId: digest };
      } finally {
        await rm(temporary, { force: true });
      }
    },
    async import(archive, importOptions = {}) {
      const { digest, references } = await importArchive(store, archive);
      const names = [...new Set([...references, ...(importOptions.references ?? [])])];
      // Unpacked before it has a name: a bad archive must not take a good image's place.
      const image = await store.find(digest).catch((error: unknown) => {
        if (!(error instanceof UserError) || typeof archive !== "string") throw error;
        const { code, fix } = error;
        throw new UserError(`${archive}: ${error.message}`, { code, ...(fix && { fix }), cause: error });
      });
      if (image === undefined) throw new Error(`the image ${digest} is gone`);
      await store.tag(digest, names);
      return { ...image, reference: names[0] ?? digest };
    },
    export: (reference, path) => exportArchive(store, reference, path),
    gc: (gcOptions = {}) =>
      layout.locked(async () => collectGarbage(store, await layout.references(), gcOptions)),
    async recall(key) {
      try {
        return JSON.parse(await readFile(cachePath(dir, key), "utf8"));
      } catch (error) {
        if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return undefined;
        throw error;
      }
    },
    async remember(key, value) {
      await replaceFile(cachePath(dir, key), JSON.stringify(value));
    },
  };
  return store;
}

function cachePath(dir: string, key: string): string {
  return join(dir, "cache", `${hexOf(sha256(key))}.json`);
}

function sizeOf(manifest: Manifest): number {
  return manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: ReturnType<typeof createHash>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

async function writeIfAbsent(path: string, content: string): Promise<void> {
  try {
    await writeFile(path, content, { flag: "wx" });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}

/** Two processes may unpack one layer at a time; both results are equal and the first stays. */
async function renameUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!isErrno(error, "EEXIST", "ENOTEMPTY")) throw error;
  }
}
