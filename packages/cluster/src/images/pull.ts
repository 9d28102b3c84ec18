/**
 * Images of registries: pulled into the store (what is for this machine, only what is missing, and named when it is whole), or
 * only asked about.
 */
import { UserError } from "@kws/base/errors";
import { copy } from "@kws/oci/copy";
import { anonymous, firstOf, userCredentials } from "@kws/oci/credentials";
import type { Descriptor } from "@kws/oci/descriptor";
import { parseDocument, readImageDocument, readIndex, readManifest } from "@kws/oci/manifest";
import type { ImageConfig, Manifest } from "@kws/oci/manifest";
import { parseReference, repositoryAddress } from "@kws/oci/reference";
import { openRegistries } from "@kws/oci/registry";
import type { Registries } from "@kws/oci/registry";
import { manifestLimit } from "@kws/oci/repository";
import type { Repository } from "@kws/oci/repository";
import { baseImageName } from "./base-image.ts";
import type { Image, PullImage, PullOptions } from "./image.ts";
import { chooseHere } from "./platform.ts";
import type { LocalImageStore } from "./store.ts";
import { defaultLimits } from "./unpack.ts";

const configType = /^application\/vnd\.(oci\.image\.config|docker\.container\.image)\.v1\+json$/;
const layerType =
  /^application\/vnd\.(oci\.image\.layer\.v1|docker\.image\.rootfs\.diff)\.tar([.+](gzip|zstd))?$/;
/** An index may hold indexes; no tool makes more levels. */
const deepestIndex = 3;

/** Of names that no registry knows. */
const localHost = baseImageName.split("/")[0];

/** True where the name says in which registry the image is. */
export function isFromRegistry(reference: string): boolean {
  const { name } = parseReference(reference);
  const { host } = repositoryAddress(name);
  return host !== localHost && name.startsWith(`${host}/`);
}

/** True for names that no registry knows. */
export function isMadeHere(reference: string): boolean {
  return repositoryAddress(parseReference(reference).name).host === localHost;
}

export interface Puller {
  pull: PullImage;
  /**
   * What the image is configured to be. Its manifest and its configuration are asked for, and no layer; nothing is stored.
   * Those who ask at once for the same have one answer. Code `timeout` where there is none in time.
   */
  configOf(reference: string, signal?: AbortSignal): Promise<ImageConfig>;
}

/** A registry that takes longer to describe an image is not worth waiting for. */
const longestAnswerMs = 30_000;

/**
 * Shows registries the credentials that a pull comes with, or those of the user whose machine it is. `answerMs` is how long a
 * question may take; a pull takes what it needs.
 */
export function createPuller(
  store: LocalImageStore,
  env: NodeJS.ProcessEnv,
  answerMs = longestAnswerMs,
): Puller {
  const own = userCredentials(env);
  const pulling = new Map<string, Promise<Image>>();
  const asking = new Map<string, Promise<ImageConfig>>();
  return {
    pull(reference, options) {
      const credentials = firstOf(options.credentials ?? anonymous, own);
      const pull = () => pullImage(store, openRegistries({ env, credentials }), reference, options);
      // The second waits for what the first fetches, and then shows its own credentials.
      const next = (pulling.get(reference) ?? Promise.resolve()).then(pull, pull);
      pulling.set(reference, next);
      const forget = () => {
        if (pulling.get(reference) === next) pulling.delete(reference);
      };
      next.then(forget, forget);
      return next;
    },
    async configOf(reference, signal) {
      const others = asking.get(reference);
      if (others !== undefined) return others;
      const asked = answer(reference, signal);
      asking.set(reference, asked);
      try {
        return await asked;
      } finally {
        asking.delete(reference);
      }
    },
  };

  async function answer(reference: string, signal?: AbortSignal): Promise<ImageConfig> {
    const late = AbortSignal.timeout(answerMs);
    const either = signal === undefined ? late : AbortSignal.any([signal, late]);
    try {
      return await fetchConfig(openRegistries({ env, credentials: own }), reference, either);
    } catch (error) {
      signal?.throwIfAborted();
      throw late.aborted ? silent(reference, answerMs) : error;
    }
  }
}

function silent(reference: string, answerMs: number): UserError {
  const { host } = repositoryAddress(parseReference(reference).name);
  return new UserError(`${reference}: ${host} gave no answer in ${answerMs / 1000} s`, {
    code: "timeout",
    fix: "Check the network and the registry, and try again.",
  });
}

/** An image for this machine, as its registry describes it. */
interface Found {
  from: Repository;
  /** What the reference names: the image's manifest, or an index that leads to it. */
  named: string;
  indexes: Uint8Array[];
  descriptor: Descriptor;
  manifest: Manifest;
}

async function findHere(registries: Registries, reference: string, signal?: AbortSignal): Promise<Found> {
  const { name, tag, digest } = parseReference(reference);
  if (isMadeHere(reference)) {
    throw new UserError(
      `there is no image ${reference}: names under ${localHost} are made here, not pulled`,
      {
        code: "not-found",
        fix: `Name ${baseImageName} with this Node's own major version, or an image that was built here.`,
      },
    );
  }
  const from = registries.repository(name);
  let { descriptor, bytes } = await from.manifest(digest ?? tag ?? "", { signal });
  const named = descriptor.digest;
  const indexes: Uint8Array[] = [];
  for (;;) {
    const where = `${name}@${descriptor.digest}`;
    const index = readIndex(parseDocument(bytes, where), where);
    if (index === undefined) break;
    if (indexes.length === deepestIndex) {
      throw new UserError(`${where}: indexes are nested too deeply`, { code: "config" });
    }
    indexes.push(bytes);
    ({ descriptor, bytes } = await from.manifest(chooseHere(index, where).digest, { signal }));
  }
  const manifest = readManifest(parseDocument(bytes, reference), reference);
  checkRunnable(manifest, reference);
  return { from, named, indexes, descriptor, manifest };
}

async function pullImage(
  store: LocalImageStore,
  registries: Registries,
  reference: string,
  { signal, onProgress }: PullOptions,
): Promise<Image> {
  const { from, named, indexes, descriptor, manifest } = await findHere(registries, reference, signal);
  const sizes = new Map([manifest.config, ...manifest.layers].map((blob) => [blob.digest, blob.size]));
  const total = sum(sizes.values());
  const here = new Map<string, number>();
  await copy(from, store.repository(from.name), descriptor, {
    signal,
    onProgress(progress) {
      here.set(progress.descriptor.digest, progress.bytes);
      onProgress?.(sum(here.values()), total);
    },
  });
  for (const index of indexes) await store.blobs.put(index);
  // Unpacked before it has a name: a bad image must not take a good one's place.
  const image = await store.find(named);
  if (image === undefined) throw new Error(`the image ${named} is gone`);
  const { digest } = parseReference(reference);
  // A tag beside a digest is for people to read: whether it means the same today was not asked.
  await store.tag(named, [digest === undefined ? reference : `${from.name}@${digest}`]);
  return { ...image, reference };
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((total, number) => total + number, 0);
}

async function fetchConfig(
  registries: Registries,
  reference: string,
  signal?: AbortSignal,
): Promise<ImageConfig> {
  const { from, manifest } = await findHere(registries, reference, signal);
  const { config } = manifest;
  if (config.size > manifestLimit) {
    throw new UserError(`${reference} has a configuration of ${config.size} bytes`, { code: "config" });
  }
  const chunks = await Array.fromAsync(from.blob(config, { signal }));
  return readImageDocument(parseDocument(Buffer.concat(chunks), reference), reference).config;
}

/** Registries hold charts, signatures and much else in the same form. */
function checkRunnable({ config, layers }: Manifest, reference: string): void {
  if (!configType.test(config.mediaType)) {
    throw new UserError(`${reference} is not a container image, but of the type "${config.mediaType}"`, {
      code: "config",
      fix: "Correct the name.",
    });
  }
  const bytes = sum(layers.map(({ size }) => size));
  if (bytes > defaultLimits.bytes) {
    throw new UserError(`${reference} is larger than an image may be: its layers have ${bytes} bytes`, {
      code: "config",
      fix: "Use a smaller image.",
    });
  }
  for (const { mediaType } of layers) {
    if (layerType.test(mediaType)) continue;
    const foreign = /foreign|nondistributable/.test(mediaType);
    throw new UserError(
      `${reference} has a layer that ${foreign ? "may not be distributed" : "cannot be unpacked"} (${mediaType})`,
      {
        code: "config",
        fix: "Use an image for Linux whose layers are plain, gzip or zstd, and all in its registry.",
      },
    );
  }
}
