/**
 * Image archives: the OCI image layout and the format of `docker save`, in one tar file. An archive is not trusted: only
 * plain files of known names are read, everything is verified by digest, and the store's layout is never written by name.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError, isErrno } from "@kws/base/errors";
import { digestPattern, hexOf, mediaTypes } from "@kws/oci/descriptor";
import type { Descriptor } from "@kws/oci/descriptor";
import { readDescriptor, readImageDocument, readIndex, readManifest } from "@kws/oci/manifest";
import type { Manifest } from "@kws/oci/manifest";
import { canonicalReference } from "@kws/oci/reference";
import type { ReadEntry } from "tar";
import { writeLayer } from "./layer.ts";
import { manifestHere } from "./platform.ts";
import type { LocalImageStore } from "./store.ts";
import { decompressed, entryContent, readTar } from "./tar-stream.ts";
import { defaultLimits, entryPath, refused } from "./unpack.ts";

/** No manifest, index or configuration of a real image comes near. */
const documentLimit = 8 * 2 ** 20;

interface ArchiveContent {
  name: string;
  /** Digest and size in the store of every file in the archive, by path. */
  files: Map<string, { digest: string; size: number }>;
  documents: Map<string, unknown>;
}

/** Stores the archive's blobs and answers the digest of the manifest to run here. */
export async function importArchive(
  store: LocalImageStore,
  archive: string | Readable,
): Promise<{ digest: string; references: string[] }> {
  const content = await readArchive(store, archive);
  if (content.documents.has("index.json")) return importLayout(store, content);
  if (content.documents.has("manifest.json")) return importDocker(store, content);
  throw new UserError(`${content.name} holds no image: it has neither index.json nor manifest.json`, {
    code: "config",
    fix: "make the archive with docker save, or as an OCI image layout",
  });
}

async function readArchive(store: LocalImageStore, archive: string | Readable): Promise<ArchiveContent> {
  const name = typeof archive === "string" ? archive : "the archive";
  const content: ArchiveContent = { name, files: new Map(), documents: new Map() };
  const links = new Map<string, string>();
  let bytes = 0;
  const onEntry = async (entry: ReadEntry) => {
    const path = entryPath(entry.path);
    if (path === undefined) throw refused(name, entry.path, "lies outside the archive");
    if (entry.type === "Directory") return;
    if (content.files.has(path) || links.has(path)) {
      throw refused(name, entry.path, "stands in the archive twice");
    }
    bytes += entry.size;
    if (bytes > defaultLimits.bytes || content.files.size > 10_000) {
      throw refused(name, entry.path, "makes the archive larger than an image may be");
    }
    if (entry.type === "SymbolicLink" && path.endsWith("layer.tar")) {
      // Old versions of docker save link equal layers to each other.
      const target = entryPath(new URL(entry.linkpath ?? "", `file:///${path}`).pathname.slice(1));
      if (target === undefined) throw refused(name, entry.path, "links out of the archive");
      links.set(path, target);
      return;
    }
    if (!["File", "OldFile", "ContiguousFile"].includes(entry.type)) {
      throw refused(name, entry.path, `is of the type ${entry.type}`);
    }
    if (path === "index.json" || path === "manifest.json") {
      if (entry.size > documentLimit) throw refused(name, entry.path, "is too large");
      const text = await entryContent(entry, documentLimit);
      content.files.set(path, { digest: "", size: text.length });
      content.documents.set(path, parseJson(text, name, entry.path));
      return;
    }
    const blob = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path);
    const expected = blob === null ? undefined : `sha256:${blob[1]}`;
    try {
      content.files.set(path, await store.blobs.putStream(entry, expected));
    } catch (error) {
      if (error instanceof UserError) throw refused(name, entry.path, `is damaged: ${error.message}`);
      throw error;
    }
  };
  try {
    const source = typeof archive === "string" ? createReadStream(archive) : archive;
    await readTar(decompressed(source), onEntry);
  } catch (error) {
    if (isErrno(error, "ENOENT") && typeof archive === "string") {
      throw new UserError(`there is no archive ${archive}`, { code: "not-found", cause: error });
    }
    if (error instanceof Error && ("tarCode" in error || isErrno(error, "Z_DATA_ERROR", "Z_BUF_ERROR"))) {
      throw new UserError(`${name} is not a sound tar archive: ${error.message}`, {
        code: "config",
        fix: "export the image again",
        cause: error,
      });
    }
    throw error;
  }
  for (const [path, target] of links) {
    const file = content.files.get(target);
    if (file === undefined) throw refused(name, path, `links to "${target}", which is not there`);
    content.files.set(path, file);
  }
  return content;
}

function parseJson(text: Buffer, archive: string, entry: string): unknown {
  try {
    return JSON.parse(text.toString("utf8"));
  } catch (error) {
    throw new UserError(`${archive}: the entry "${entry}" is not JSON`, {
      code: "config",
      cause: error,
    });
  }
}

async function importLayout(store: LocalImageStore, content: ArchiveContent) {
  const where = `${content.name}: index.json`;
  const entries = readIndex(content.documents.get("index.json"), where) ?? [];
  const first = entries[0];
  if (first === undefined) throw new UserError(`${where} lists no image`, { code: "config" });
  const { annotations } = first;
  const references = ["io.containerd.image.name", "org.opencontainers.image.ref.name"].flatMap(
    (key) => tryReference(annotations?.[key] ?? "") ?? [],
  );
  const dockerNames = dockerEntries(content).flatMap((entry) => entry.repoTags);
  const digest = await resolveManifest(store, first, content.name);
  return { digest, references: [...new Set([...dockerNames, ...references.slice(0, 1)])] };
}

/** A bare tag ("latest") is what some tools write; it names nothing here. */
function tryReference(name: string): string | undefined {
  return /[/:]/.test(name) ? canonicalReference(name) : undefined;
}

/** The manifest for this machine, when all of it is there. */
async function resolveManifest(store: LocalImageStore, named: Descriptor, archive: string): Promise<string> {
  const where = `${archive}: ${named.digest}`;
  if (!(await store.blobs.has(named.digest))) throw missing(archive, named.digest);
  const digest = await manifestHere(store.blobs, named.digest, where);
  const manifest = readManifest(await documentOf(store, digest, archive), where);
  readImageDocument(await documentOf(store, manifest.config.digest, archive), where);
  for (const layer of manifest.layers) {
    if (!(await store.blobs.has(layer.digest))) throw missing(archive, layer.digest);
  }
  return digest;
}

async function documentOf(store: LocalImageStore, digest: string, archive: string) {
  if (!(await store.blobs.has(digest))) throw missing(archive, digest);
  return store.blobs.json(digest);
}

function missing(archive: string, what: string): UserError {
  return new UserError(`${archive} lacks ${what}`, {
    code: "config",
    fix: "export the whole image again, for this machine's platform",
  });
}

function dockerEntries(content: ArchiveContent) {
  const value = content.documents.get("manifest.json");
  if (!Array.isArray(value)) return [];
  return value.map((entry: unknown) => {
    const fields = (entry ?? {}) as { Config?: unknown; Layers?: unknown; RepoTags?: unknown };
    const list = (field: unknown) => (Array.isArray(field) ? field.map(String) : []);
    return {
      config: typeof fields.Config === "string" ? fields.Config : "",
      layers: list(fields.Layers),
      repoTags: list(fields.RepoTags).map(canonicalReference),
    };
  });
}

async function importDocker(store: LocalImageStore, content: ArchiveContent) {
  const [entry] = dockerEntries(content);
  if (entry === undefined) {
    throw new UserError(`${content.name}: manifest.json lists no image`, { code: "config" });
  }
  const file = (path: string) => {
    const found = content.files.get(path);
    if (found === undefined) throw missing(content.name, path);
    return found;
  };
  const config = file(entry.config);
  const where = `${content.name}: ${entry.config}`;
  readImageDocument(await store.blobs.json(config.digest), where);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: readDescriptor({ mediaType: mediaTypes.config, ...config }, where),
    layers: entry.layers.map((path) => ({ mediaType: mediaTypes.layer, ...file(path) })),
  };
  const { digest } = await store.blobs.put(JSON.stringify(manifest));
  return { digest, references: entry.repoTags };
}

/** An OCI layout with docker's manifest.json beside it, in a fixed order with fixed times. */
export async function exportArchive(store: LocalImageStore, reference: string, path: string): Promise<void> {
  const stored = await store.inspect(reference);
  if (stored === undefined) {
    throw new UserError(`there is no image ${reference} to export`, { code: "not-found" });
  }
  const { digest, manifest } = stored;
  const name = digestPattern.test(reference) ? undefined : canonicalReference(reference);
  const tagged = name !== undefined && !name.includes("@");
  const blobPath = (of: string) => `blobs/sha256/${hexOf(of)}`;
  const { size } = await stat(store.blobs.path(digest));
  const annotations = {
    "io.containerd.image.name": name ?? "",
    "org.opencontainers.image.ref.name": name ?? "",
  };
  const descriptor: Descriptor = {
    mediaType: mediaTypes.manifest,
    digest,
    size,
    ...(tagged ? { annotations } : {}),
  };
  const docker = [
    {
      Config: blobPath(manifest.config.digest),
      RepoTags: tagged ? [name] : [],
      Layers: manifest.layers.map((layer) => blobPath(layer.digest)),
    },
  ];
  const blobs = [digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)];
  const text = (value: unknown) => Buffer.from(JSON.stringify(value));
  await replaceFile(path, async (temporary) => {
    await writeLayer(
      temporary,
      [
        { path: "oci-layout", type: "file", source: text({ imageLayoutVersion: "1.0.0" }) },
        {
          path: "index.json",
          type: "file",
          source: text({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [descriptor] }),
        },
        { path: "manifest.json", type: "file", source: text(docker) },
        ...[...new Set(blobs)].map((blob) => ({
          path: blobPath(blob),
          type: "file" as const,
          source: store.blobs.path(blob),
        })),
      ],
      createHash("sha256"),
    );
  });
}
