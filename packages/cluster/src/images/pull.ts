/** Pulls images from registries into the store: what is for this machine, only what is missing, and named when it is whole. */
import { UserError } from "@kws/base/errors";
import { copy } from "@kws/oci/copy";
import { firstOf, userCredentials } from "@kws/oci/credentials";
import { parseDocument, readIndex, readManifest } from "@kws/oci/manifest";
import { parseReference, repositoryAddress } from "@kws/oci/reference";
import { openRegistries } from "@kws/oci/registry";
import type { Registries } from "@kws/oci/registry";
import { baseImageName } from "./base-image.ts";
import type { Image, PullImage } from "./image.ts";
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

/** With a pod's own credentials, or those of the user whose machine it is. */
export function createPuller(store: LocalImageStore, env: NodeJS.ProcessEnv): PullImage {
  const own = userCredentials(env);
  const running = new Map<string, Promise<Image>>();
  return (reference, credentials, signal) => {
    const registries = openRegistries({ env, credentials: firstOf(credentials, own) });
    const pull = () => pullImage(store, registries, reference, signal);
    // The second waits for what the first fetches, and then shows its own credentials.
    const next = (running.get(reference) ?? Promise.resolve()).then(pull, pull);
    running.set(reference, next);
    const forget = () => {
      if (running.get(reference) === next) running.delete(reference);
    };
    next.then(forget, forget);
    return next;
  };
}

async function pullImage(
  store: LocalImageStore,
  registries: Registries,
  reference: string,
  signal: AbortSignal,
): Promise<Image> {
  const { name, tag, digest } = parseReference(reference);
  if (repositoryAddress(name).host === localHost) {
    throw new UserError(
      `there is no image ${reference}: names under ${localHost} are made here, not pulled`,
      {
        code: "not-found",
        fix: `Name ${baseImageName} with this Node's own major version, or an image that was built here.`,
      },
    );
  }
  const from = registries.repository(name);
  const named = await from.manifest(digest ?? tag ?? "", { signal });
  const indexes: Uint8Array[] = [];
  let { descriptor, bytes } = named;
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
  checkRunnable(parseDocument(bytes, reference), reference);
  await copy(from, store.repository(name), descriptor, { signal });
  for (const index of indexes) await store.blobs.put(index);
  // Unpacked before it has a name: a bad image must not take a good one's place.
  const image = await store.find(named.descriptor.digest);
  if (image === undefined) throw new Error(`the image ${named.descriptor.digest} is gone`);
  // A tag beside a digest is for people to read: whether it means the same today was not asked.
  await store.tag(named.descriptor.digest, [digest === undefined ? reference : `${name}@${digest}`]);
  return { ...image, reference };
}

/** Registries hold charts, signatures and much else in the same form. */
function checkRunnable(document: unknown, reference: string): void {
  const { config, layers } = readManifest(document, reference);
  if (!configType.test(config.mediaType)) {
    throw new UserError(`${reference} is not a container image, but of the type "${config.mediaType}"`, {
      code: "config",
      fix: "Correct the name.",
    });
  }
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
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
