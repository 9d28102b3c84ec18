/**
 * A folder in the OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md) that holds many
 * repositories. Blobs are named by their digests and never change; only `index.json`, the table of references, does: under a
 * lock, and by a rename, so that a reader sees the old or the new one and a killed writer leaves the old one.
 */
import { createReadStream } from "node:fs";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError, isErrno } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { withLock } from "@kws/base/lock";
import { openBlobs } from "./blobs.ts";
import type { Blobs } from "./blobs.ts";
import { digestPattern, mediaTypes, verified } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { mediaTypeOf, readIndex } from "./manifest.ts";
import { parseReference } from "./reference.ts";
import { manifestLimit, referenceIn, taken } from "./repository.ts";
import type { ManifestContent, PushManifestOptions, Repository, Waiting } from "./repository.ts";

/** On an entry of `index.json`: `name:tag`, or `name@digest`. */
export const referenceAnnotation = "org.opencontainers.image.ref.name";

export interface Layout {
  readonly dir: string;
  readonly blobs: Blobs;
  /** The entries of `index.json`. */
  references(): Promise<Descriptor[]>;
  /** Replaces the entries, while no other process does. Answers what they are now. */
  changeReferences(change: (now: Descriptor[]) => Descriptor[]): Promise<Descriptor[]>;
  /** Runs while no reference changes. */
  locked<T>(run: () => Promise<T>): Promise<T>;
  repository(name: string): Repository;
}

/** The folder is made where it is missing. */
export async function openLayout(dir: string): Promise<Layout> {
  await makeFolder(join(dir, "blobs", "sha256"));
  await removeLeftovers(join(dir, "ingest"));
  await writeIfAbsent(join(dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}\n');
  const indexPath = join(dir, "index.json");
  const locked = <T>(run: () => Promise<T>) => withLock(join(dir, "index.lock"), run);
  const references = async (): Promise<Descriptor[]> => {
    try {
      return readIndex(JSON.parse(await readFile(indexPath, "utf8")), indexPath) ?? [];
    } catch (error) {
      if (isErrno(error, "ENOENT")) return [];
      if (error instanceof SyntaxError) {
        throw new UserError(`${indexPath} is not JSON: ${error.message}`, {
          code: "config",
          fix: "Correct the file, or remove it: content stays, and is found again by its digest.",
          cause: error,
        });
      }
      throw error;
    }
  };
  const blobs = openBlobs(dir);
  const layout: Layout = {
    dir,
    blobs,
    references,
    locked,
    changeReferences: (change) =>
      locked(async () => {
        const manifests = change(await references());
        const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
        await replaceFile(indexPath, `${JSON.stringify(index, undefined, 1)}\n`);
        return manifests;
      }),
    repository: (name) => openLayoutRepository(layout, name),
  };
  return layout;
}

function openLayoutRepository(layout: Layout, name: string): Repository {
  if (parseReference(name).name !== name) {
    throw new UserError(`"${name}" is not a repository`, {
      code: "config",
      fix: "Leave tag and digest out.",
    });
  }
  const { blobs } = layout;
  const at = (reference: string) => referenceIn(name, reference);
  const missing = (reference: string) =>
    new UserError(`${at(reference)} is not in ${layout.dir}`, { code: "not-found" });

  const read = async (digest: string): Promise<ManifestContent> => {
    const { size } = await stat(blobs.path(digest));
    if (size > manifestLimit) {
      throw new UserError(`${at(digest)} is no manifest: it has ${size} bytes`, { code: "config" });
    }
    const bytes = await blobs.read(digest);
    return { descriptor: { mediaType: mediaTypeOf(bytes, at(digest)), digest, size }, bytes };
  };

  const resolve = async (reference: string): Promise<Descriptor | undefined> => {
    if (digestPattern.test(reference)) {
      return (await blobs.has(reference)) ? (await read(reference)).descriptor : undefined;
    }
    const wanted = at(reference);
    const entries = await layout.references();
    const found = entries.find((entry) => entry.annotations?.[referenceAnnotation] === wanted);
    return found && { mediaType: found.mediaType, digest: found.digest, size: found.size };
  };

  return {
    name,
    remote: undefined,
    resolve,
    async manifest(reference, options) {
      options?.signal?.throwIfAborted();
      const found = await resolve(reference);
      if (found === undefined) throw missing(reference);
      return read(found.digest);
    },
    async *blob(descriptor, options) {
      options?.signal?.throwIfAborted();
      const { digest } = descriptor;
      const stream = createReadStream(blobs.path(digest), { ...signalOf(options), highWaterMark: 1 << 20 });
      try {
        yield* verified(stream, descriptor, at(digest));
      } catch (error) {
        if (isErrno(error, "ENOENT")) throw missing(digest);
        throw error;
      }
    },
    hasBlob: (digest) => blobs.has(digest),
    async pushBlob(descriptor, open, options) {
      options?.signal?.throwIfAborted();
      if (await blobs.has(descriptor.digest)) return;
      await blobs.putStream(open(), descriptor.digest);
    },
    async pushManifest(bytes, mediaType, options) {
      options?.signal?.throwIfAborted();
      const descriptor = { mediaType, ...(await blobs.put(bytes)) };
      if (options?.tag !== undefined) await tag(layout, name, descriptor, options.tag, options);
      return descriptor;
    },
    async tags() {
      const prefix = `${name}:`;
      const names = (await layout.references()).map(
        (entry) => entry.annotations?.[referenceAnnotation] ?? "",
      );
      return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    },
  };
}

async function tag(
  layout: Layout,
  name: string,
  descriptor: Descriptor,
  tag: string,
  { overwrite = true }: PushManifestOptions,
): Promise<void> {
  const reference = referenceIn(name, tag);
  await layout.changeReferences((now) => {
    const existing = now.find((entry) => entry.annotations?.[referenceAnnotation] === reference);
    if (existing !== undefined && existing.digest !== descriptor.digest && !overwrite) {
      throw taken(reference, existing.digest, descriptor.digest);
    }
    return [
      ...now.filter((entry) => entry !== existing),
      { ...descriptor, annotations: { [referenceAnnotation]: reference } },
    ];
  });
}

function signalOf(options: Waiting | undefined): { signal?: AbortSignal } {
  return options?.signal === undefined ? {} : { signal: options.signal };
}

/** No file is being written for so long. */
const leftoverMs = 24 * 3_600_000;

/** Removes the files that were not yet whole when their process was killed. */
async function removeLeftovers(folder: string): Promise<void> {
  try {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (!entry.isFile() || Date.now() - (await stat(path)).mtimeMs < leftoverMs) continue;
      await rm(path, { force: true });
    }
  } catch (error) {
    // Nothing has been written yet, or another process was faster.
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

async function writeIfAbsent(path: string, content: string): Promise<void> {
  try {
    await writeFile(path, content, { flag: "wx" });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}
