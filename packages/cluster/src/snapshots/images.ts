/** The images of a snapshot: an OCI layout of its own whose files are, where the file system can, the image store's. */
import { copyFile, link } from "node:fs/promises";
import { isErrno } from "@kws/base/errors";
import type { Blobs } from "@kws/oci/blobs";
import type { Descriptor } from "@kws/oci/descriptor";
import { openLayout, referenceAnnotation } from "@kws/oci/layout";
import { mediaTypeOf, readManifest } from "@kws/oci/manifest";
import { canonicalReference, parseReference } from "@kws/oci/reference";
import { manifestHere } from "../images/platform.ts";
import type { LocalImageStore } from "../images/store.ts";

/** Keeps those of the images that the store has; the nodes pull the others again. */
export async function keepImages(
  store: LocalImageStore,
  names: Iterable<string>,
  folder: string,
): Promise<{ images: number; imageBytes: number }> {
  const layout = await openLayout(folder);
  const kept = new Set<string>();
  let imageBytes = 0;
  const entries: Descriptor[] = [];
  for (const name of names) {
    const found = isReference(name) ? await store.inspect(name) : undefined;
    if (found === undefined) continue;
    for (const { digest, size } of await blobsOf(store.blobs, found.named)) {
      if (kept.has(digest)) continue;
      kept.add(digest);
      imageBytes += size;
      await share(store.blobs.path(digest), layout.blobs.path(digest));
    }
    const bytes = await store.blobs.read(found.named);
    const byTag = parseReference(name).digest === undefined;
    entries.push({
      mediaType: mediaTypeOf(bytes, name),
      digest: found.named,
      size: bytes.length,
      ...(byTag ? { annotations: { [referenceAnnotation]: canonicalReference(name) } } : {}),
    });
  }
  await layout.changeReferences(() => entries);
  return { images: entries.length, imageBytes };
}

/** A pod may name what is no reference; it waits with InvalidImageName then. */
function isReference(name: string): boolean {
  try {
    parseReference(name);
    return true;
  } catch {
    return false;
  }
}

/** Of the image for this machine, and of an index that leads to it. */
async function blobsOf(blobs: Blobs, named: string): Promise<{ digest: string; size: number }[]> {
  const digest = await manifestHere(blobs, named, named);
  const manifest = readManifest(await blobs.json(digest), digest);
  const documents = [...new Set([named, digest])];
  const sizes = await Promise.all(
    documents.map(async (one) => ({ digest: one, size: (await blobs.read(one)).length })),
  );
  return [...sizes, manifest.config, ...manifest.layers];
}

/** Gives the store the content of a snapshot's images. Nothing names it yet. */
export async function bringBlobs(folder: string, store: LocalImageStore): Promise<void> {
  const layout = await openLayout(folder);
  for (const { digest: named } of await layout.references()) {
    for (const { digest } of await blobsOf(layout.blobs, named)) {
      if (!(await store.blobs.has(digest))) await share(layout.blobs.path(digest), store.blobs.path(digest));
    }
  }
}

/** The names of a snapshot's images, with what they stand for. */
export async function imageNames(folder: string): Promise<{ digest: string; name?: string }[]> {
  const layout = await openLayout(folder);
  return (await layout.references()).map(({ digest, annotations }) => {
    const name = annotations?.[referenceAnnotation];
    return name === undefined ? { digest } : { digest, name };
  });
}

/** Files named by their content never change, so two folders may have the same one. */
async function share(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (isErrno(error, "EEXIST")) return;
    if (!isErrno(error, "EXDEV", "EPERM", "EMLINK", "ENOTSUP")) throw error;
    await copyFile(from, to);
  }
}
