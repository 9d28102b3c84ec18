/**
 * A stored image as the tar archive that both `ctr images import` and `docker load` read, without the layers that the reader
 * has already. An image layout may lack blobs that are found elsewhere
 * (https://github.com/opencontainers/image-spec/blob/main/image-layout.md#blobs).
 */
import { hexOf, mediaTypes } from "@kws/oci/descriptor";
import {
  type ImageDocument,
  type Manifest,
  parseDocument,
  readImageDocument,
  readManifest,
} from "@kws/oci/manifest";
import type { Repository } from "@kws/oci/repository";
import { Header } from "tar";

/** An image whose documents are read and whose layers are still where they are stored. */
export interface StoredImage {
  repository: Repository;
  tag: string;
  /** Of the manifest. */
  digest: string;
  bytes: Uint8Array;
  manifest: Manifest;
  document: ImageDocument;
}

export async function openImage(
  repository: Repository,
  tag: string,
  digest: string,
  signal?: AbortSignal,
): Promise<StoredImage> {
  const where = `${repository.name}@${digest}`;
  const { bytes } = await repository.manifest(digest, { signal });
  const manifest = readManifest(parseDocument(bytes, where), where);
  const config: Uint8Array[] = [];
  for await (const chunk of repository.blob(manifest.config, { signal })) config.push(chunk);
  const document = readImageDocument(parseDocument(Buffer.concat(config), where), where);
  return { repository, tag, digest, bytes, manifest, document };
}

/** `skip` holds the digests of layers to leave out; each of `names` becomes a name of the image. */
export async function* imageArchive(
  { repository, digest, bytes, manifest }: StoredImage,
  names: string[],
  skip: ReadonlySet<string>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const descriptor = { mediaType: manifest.mediaType || mediaTypes.manifest, digest, size: bytes.length };
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: names.map((name) => ({ ...descriptor, annotations: { "io.containerd.image.name": name } })),
  };
  const docker = [
    {
      Config: blobPath(manifest.config.digest),
      RepoTags: names.filter((name) => !name.includes("@")),
      Layers: manifest.layers.map((layer) => blobPath(layer.digest)),
    },
  ];
  yield* entry("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  yield* entry("index.json", json(index));
  yield* entry("manifest.json", json(docker));
  yield* entry(blobPath(digest), Buffer.from(bytes));
  const sent = new Set(skip);
  for (const blob of [manifest.config, ...manifest.layers]) {
    if (sent.has(blob.digest)) continue;
    sent.add(blob.digest);
    yield header(blobPath(blob.digest), blob.size);
    yield* repository.blob(blob, { signal });
    yield padding(blob.size);
  }
  // Two empty blocks end an archive.
  yield Buffer.alloc(1024);
}

/** Bytes of the layers that an archive would hold. */
export function layerBytes({ manifest }: StoredImage, skip: ReadonlySet<string>): number {
  const sizes = new Map(manifest.layers.map(({ digest, size }) => [digest, size]));
  return [...sizes].reduce((sum, [digest, size]) => sum + (skip.has(digest) ? 0 : size), 0);
}

const blobPath = (digest: string) => `blobs/sha256/${hexOf(digest)}`;
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

function* entry(path: string, content: Buffer): Generator<Uint8Array> {
  yield header(path, content.length);
  yield content;
  yield padding(content.length);
}

function header(path: string, size: number): Buffer {
  const block = Buffer.alloc(512);
  new Header({ path, size, type: "File", mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }).encode(block, 0);
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((512 - (size % 512)) % 512);
}
