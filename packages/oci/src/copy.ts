/** Copies manifests with all that they refer to from one repository to another: only what is missing there, a few at a time. */
import { UserError } from "@kws/base/errors";
import type { Descriptor } from "./descriptor.ts";
import { parseDocument, readIndex, readManifest } from "./manifest.ts";
import type { PushManifestOptions, Repository } from "./repository.ts";

export interface CopyProgress {
  descriptor: Descriptor;
  state: "copying" | "copied" | "present";
  /** Of the blob, so far. */
  bytes: number;
}

export interface CopyOptions extends PushManifestOptions {
  onProgress?: (progress: CopyProgress) => void;
}

const blobsAtATime = 4;
/** An index may hold indexes; no tool makes more levels. */
const deepestIndex = 3;

/** Manifests come after what they refer to, so whatever interrupts it leaves nothing that is incomplete under a name. */
export async function copy(
  from: Repository,
  to: Repository,
  descriptor: Descriptor,
  options: CopyOptions = {},
): Promise<Descriptor> {
  return copyManifest(from, to, descriptor, options, deepestIndex);
}

async function copyManifest(
  from: Repository,
  to: Repository,
  { digest }: Descriptor,
  options: CopyOptions,
  depth: number,
): Promise<Descriptor> {
  const { signal, onProgress } = options;
  const where = `${from.name}@${digest}`;
  const { descriptor, bytes } = await from.manifest(digest, { signal });
  const document = parseDocument(bytes, where);
  const children = readIndex(document, where);
  if (children === undefined) {
    const manifest = readManifest(document, where);
    await copyBlobs(from, to, [manifest.config, ...manifest.layers], { signal, onProgress });
  } else {
    if (depth === 0) throw new UserError(`${where}: indexes are nested too deeply`, { code: "config" });
    for (const child of children) {
      await copyManifest(from, to, child, { signal, onProgress }, depth - 1);
    }
  }
  return to.pushManifest(bytes, descriptor.mediaType, options);
}

async function copyBlobs(
  from: Repository,
  to: Repository,
  descriptors: Descriptor[],
  options: CopyOptions,
): Promise<void> {
  const left = [...new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor])).values()];
  const failed = new AbortController();
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  const work = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      signal.throwIfAborted();
      await copyBlob(from, to, next, { ...options, signal });
    }
  };
  // The first failure ends the others, and is the one to tell.
  const guarded = () =>
    work().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    });
  const results = await Promise.allSettled(Array.from({ length: blobsAtATime }, guarded));
  options.signal?.throwIfAborted();
  if (results.some(({ status }) => status === "rejected")) throw failed.signal.reason;
}

async function copyBlob(
  from: Repository,
  to: Repository,
  descriptor: Descriptor,
  { signal, onProgress }: CopyOptions,
): Promise<void> {
  const { digest, mediaType, size } = descriptor;
  if (/foreign|nondistributable/.test(mediaType)) {
    throw new UserError(`${from.name}: the layer ${digest} may not be distributed (${mediaType})`, {
      code: "config",
      fix: "Use an image whose layers are all in its registry.",
    });
  }
  if (await to.hasBlob(digest, { signal })) {
    onProgress?.({ descriptor, state: "present", bytes: size });
    return;
  }
  const counted = async function* () {
    let bytes = 0;
    for await (const chunk of from.blob(descriptor, { signal })) {
      bytes += chunk.length;
      onProgress?.({ descriptor, state: "copying", bytes });
      yield chunk;
    }
  };
  const sameRegistry = from.remote !== undefined && from.remote.host === to.remote?.host;
  await to.pushBlob(descriptor, counted, { signal, ...(sameRegistry && { mountFrom: from.remote.path }) });
  onProgress?.({ descriptor, state: "copied", bytes: size });
}
