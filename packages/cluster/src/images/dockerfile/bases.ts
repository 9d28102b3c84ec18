/**
 * The images that FROM and --from name: stored ones, those of registries, and the base image of this machine, which is assembled
 * when it is needed.
 */
import { UserError } from "@kws/base/errors";
import type { ImageConfig } from "@kws/oci/manifest";
import { parseReference } from "@kws/oci/reference";
import { baseImageConfig, baseImageName, baseImageReference, ensureBaseImage } from "../base-image.ts";
import type { HostNode } from "../base-image.ts";
import { isMadeHere } from "../pull.ts";
import type { Puller } from "../pull.ts";
import type { LocalImageStore, StoredImage } from "../store.ts";
import { syntaxError } from "./parse.ts";

interface Machine {
  store: LocalImageStore;
  puller: Puller;
  /** The Node for the base image. */
  node: HostNode;
  signal?: AbortSignal;
}

export type BaseEvent =
  | { type: "pull"; reference: string; bytes: number; total: number }
  | { type: "warning"; at: string; message: string };

interface Fetching extends Machine {
  /** Ask registries for newer ones of stored images; where they give none, the stored ones are used. */
  pull?: boolean;
  onProgress?: (event: BaseEvent) => void;
}

/** Pulls it where it is not stored. Throws a `UserError` with the place for an image that cannot be had. */
export async function baseImage(machine: Fetching, reference: string, at: string): Promise<StoredImage> {
  const { store, puller, signal, onProgress } = machine;
  checkName(reference, at);
  if (isOwnBase(machine, reference)) {
    const { digest } = await ensureBaseImage(store, machine.node);
    const assembled = await store.inspect(digest);
    if (assembled !== undefined) return assembled;
  }
  const stored = await store.inspect(reference);
  const fixed = isMadeHere(reference) || parseReference(reference).digest !== undefined;
  if (stored !== undefined && (fixed || machine.pull !== true)) return stored;
  onProgress?.({ type: "pull", reference, bytes: 0, total: 0 });
  try {
    await puller.pull(reference, {
      ...(signal === undefined ? {} : { signal }),
      onProgress: (bytes, total) => onProgress?.({ type: "pull", reference, bytes, total }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof UserError)) throw error;
    if (stored === undefined) throw unobtainable(machine, reference, at, error);
    onProgress?.({ type: "warning", at, message: `${error.message}; the stored image is used` });
    return stored;
  }
  const pulled = await store.inspect(reference);
  if (pulled === undefined) throw new Error(`the image ${reference} is gone`);
  return pulled;
}

/**
 * The configuration of an image, which is neither assembled nor pulled for that. Undefined for one that is not stored and that
 * another build may make; throws as `baseImage` for all others.
 */
export async function configOfBase(
  machine: Machine,
  reference: string,
  at: string,
): Promise<ImageConfig | undefined> {
  checkName(reference, at);
  if (isOwnBase(machine, reference)) return baseImageConfig(machine.node.version);
  const stored = await machine.store.inspect(reference);
  if (stored !== undefined) return stored.document.config;
  if (isMadeHere(reference) && parseReference(reference).name !== baseImageName) return undefined;
  try {
    return await machine.puller.configOf(reference, machine.signal);
  } catch (error) {
    machine.signal?.throwIfAborted();
    throw error instanceof UserError ? unobtainable(machine, reference, at, error) : error;
  }
}

function checkName(reference: string, at: string): void {
  if (reference === "") throw syntaxError(at, "the image's name is empty", "give its ARG a default");
  try {
    parseReference(reference);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw syntaxError(at, error.message, error.fix);
  }
}

function isOwnBase({ node }: Machine, reference: string): boolean {
  const { name, tag, digest } = parseReference(reference);
  if (digest !== undefined) return false;
  return (
    `${name}:${tag}` === baseImageReference(node.version) || `${name}:${tag}` === `${baseImageName}:latest`
  );
}

/** `why` is the puller's. */
function unobtainable({ node }: Machine, reference: string, at: string, why: UserError): UserError {
  const own = baseImageReference(node.version);
  const { name } = parseReference(reference);
  if (name === baseImageName) {
    return new UserError(`${reference} cannot be assembled: kws runs on Node ${node.version}`, {
      code: "config",
      at,
      fix: `use ${own}`,
    });
  }
  const hints = [
    why.fix,
    /^[\w-]+$/.test(reference) ? "Where a stage was meant: none above has this name." : undefined,
    /(?:^|\/)node$/.test(name)
      ? `Or build on ${own}, which is assembled from this machine's Node.`
      : undefined,
  ];
  return new UserError(why.message, {
    code: why.code === "not-found" ? "config" : why.code,
    at,
    fix: hints.filter((hint) => hint !== undefined).join(" "),
    cause: why,
  });
}
