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
import { exportArchive, importArchive } from "./archive.ts";
import { mediaTypes, openBlobs, sha256 } from "./blobs.ts";
import type { Blobs, Descriptor } from "./blobs.ts";
import { collectGarbage } from "./gc.ts";
import type { Collected, CollectOptions } from "./gc.ts";
import type { Image, ImageConfig, ImageStore } from "./image.ts";
import { writeLayer } from "./layer.ts";
import type { LayerEntry } from "./layer.ts";
import { withLock } from "./lock.ts";
import { ociArchitecture, readImageDocument, readIndex, readManifest } from "./manifest.ts";
import type { History, ImageDocument, Layer, Manifest } from "./manifest.ts";
import { canonicalReference, digestPattern, hexOf, parseReference } from "./reference.ts";
import { decompressed } from "./tar-stream.ts";
import { defaultLimits, removeTree, unpackLayer } from "./unpack.ts";
import type { UnpackLimits } from "./unpack.ts";

const referenceAnnotation = "org.opencontainers.image.ref.name";

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
  digest: string;
  manifest: Manifest;
  document: ImageDocument;
  layers: Layer[];
}

export interface LocalImageStore extends ImageStore {
  readonly dir: string;
  readonly blobs: Blobs;
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
  await mkdir(join(dir, "blobs", "sha256"), { recursive: true });
  await mkdir(join(dir, "layers"), { recursive: true });
  await mkdir(join(dir, "cache"), { recursive: true });
  await writeIfAbsent(join(dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}\n');
  const blobs = openBlobs(dir);
  const limits = options.limits ?? defaultLimits;
  const owners = options.owners ?? process.getuid?.() === 0;
  const indexPath = join(dir, "index.json");

  const readReferences = async (): Promise<Descriptor[]> => {
    try {
      return readIndex(JSON.parse(await readFile(indexPath, "utf8")), indexPath) ?? [];
    } catch (error) {
      if (isErrno(error, "ENOENT")) return [];
      throw error;
    }
  };

  /** Changes the table of references; a reader sees the old or the new one, never half of it. */
  const changeReferences = (change: (now: Descriptor[]) => Descriptor[]): Promise<void> =>
    withLock(join(dir, "index.lock"), async () => {
      const manifests = change(await readReferences());
      const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
      await replaceFile(indexPath, `${JSON.stringify(index, undefined, 1)}\n`);
    });

  const digestOf = async (reference: string): Promise<string | undefined> => {
    if (digestPattern.test(reference)) {
      return (await blobs.has(reference)) ? reference : undefined;
    }
    const { digest } = parseReference(reference);
    if (digest !== undefined) return (await blobs.has(digest)) ? digest : undefined;
    const wanted = canonicalReference(reference);
    const found = await readReferences();
    return found.find((entry) => entry.annotations?.[referenceAnnotation] === wanted)?.digest;
  };

  const inspect = async (reference: string): Promise<StoredImage | undefined> => {
    const digest = await digestOf(reference);
    if (digest === undefined || !(await blobs.has(digest))) return undefined;
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
    return { digest, manifest, document, layers };
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
    inspect,
    unpack,
    addImage,
    async find(reference) {
      const stored = await inspect(reference);
      if (stored === undefined) return undefined;
      return {
        reference,
        digest: stored.digest,
        config: stored.document.config,
        layers: await unpack(stored.layers),
        size: sizeOf(stored.manifest),
      };
    },
    async list() {
      const byDigest = new Map<string, string[]>();
      for (const entry of await readReferences()) {
        const references = byDigest.get(entry.digest) ?? [];
        const name = entry.annotations?.[referenceAnnotation];
        byDigest.set(entry.digest, name === undefined ? references : [...references, name]);
      }
      return Promise.all(
        [...byDigest].map(async ([digest, references]) => ({
          references,
          digest,
          size: sizeOf(readManifest(await blobs.json(digest), digest)),
        })),
      );
    },
    async remove(reference) {
      const digest = await digestOf(reference);
      if (digest === undefined) return;
      const byDigest = digestPattern.test(reference) || parseReference(reference).digest !== undefined;
      const wanted = byDigest ? undefined : canonicalReference(reference);
      await changeReferences((now) =>
        now.filter((entry) =>
          wanted === undefined
            ? entry.digest !== digest
            : entry.annotations?.[referenceAnnotation] !== wanted,
        ),
      );
    },
    async tag(digest, references) {
      const { size } = await stat(blobs.path(digest));
      const names = references.map(canonicalReference);
      await changeReferences((now) => {
        const kept = now.filter(
          (entry) =>
            !names.includes(entry.annotations?.[referenceAnnotation] ?? "") &&
            // An image without a name needs one entry, so that gc keeps it, and no more.
            !(entry.digest === digest && entry.annotations?.[referenceAnnotation] === undefined),
        );
        const base = { mediaType: mediaTypes.manifest, digest, size };
        if (names.length === 0) {
          return kept.some((entry) => entry.digest === digest) ? kept : [...kept, base];
        }
        for (const name of names) {
          kept.push({
            mediaType: mediaTypes.manifest,
            digest,
            size,
            annotations: { [referenceAnnotation]: name },
          });
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
      withLock(join(dir, "index.lock"), async () => collectGarbage(store, await readReferences(), gcOptions)),
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
