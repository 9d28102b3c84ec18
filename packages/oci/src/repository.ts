/** What a repository can do, wherever it is: in a registry (`registry.ts`) or in a folder on this machine (`layout.ts`). */
import { UserError } from "@kws/base/errors";
import { digestPattern } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { tagPattern } from "./reference.ts";

export interface Waiting {
  signal?: AbortSignal;
}

export interface ManifestContent {
  descriptor: Descriptor;
  /** Verified by the descriptor's digest. */
  bytes: Uint8Array;
}

/** Manifests of real images and charts stay below it; registries may refuse larger ones, and so do readers here. */
export const manifestLimit = 4 * 2 ** 20;

/** `reference` is a tag or a digest. What is not there is `undefined` for `resolve` and a `not-found` error for others. */
export interface Repository {
  /** As people write it, with the registry's host where there is one. */
  readonly name: string;
  /** The registry's host and the path in it; undefined for a folder. */
  readonly remote: { host: string; path: string } | undefined;
  resolve(reference: string, options?: Waiting): Promise<Descriptor | undefined>;
  manifest(reference: string, options?: Waiting): Promise<ManifestContent>;
  /** Rejects at the end where the content is not what the descriptor says: nothing may be used before. */
  blob(descriptor: Descriptor, options?: Waiting): AsyncIterable<Uint8Array>;
  hasBlob(digest: string, options?: Waiting): Promise<boolean>;
  /** `open` is called again where the content has to be sent again. */
  pushBlob(
    descriptor: Descriptor,
    open: () => AsyncIterable<Uint8Array>,
    options?: PushBlobOptions,
  ): Promise<void>;
  /** All that the manifest refers to must be there already. Answers its descriptor. */
  pushManifest(bytes: Uint8Array, mediaType: string, options?: PushManifestOptions): Promise<Descriptor>;
  /** Empty where there is no such repository. */
  tags(options?: Waiting): Promise<string[]>;
}

export interface PushBlobOptions extends Waiting {
  /** A repository of the same registry that may have the blob: the registry then takes it from there. */
  mountFrom?: string;
}

export interface PushManifestOptions extends Waiting {
  tag?: string;
  /** False: a tag that names other content already is a `conflict` error, and stays. A registry has no lock for this. */
  overwrite?: boolean;
}

/** The error of a push that must not overwrite. */
export function taken(reference: string, existing: string, pushed: string): UserError {
  return new UserError(`${reference} exists with other content: it is ${existing}, and this is ${pushed}`, {
    code: "conflict",
    fix: "Push it under another version; one that was pushed once stays as it is.",
  });
}

/** `name:tag` or `name@digest`; throws for what is neither, before it becomes a part of an address. */
export function referenceIn(name: string, reference: string): string {
  if (digestPattern.test(reference)) return `${name}@${reference}`;
  if (tagPattern.test(reference)) return `${name}:${reference}`;
  throw new UserError(`"${reference}" is neither a tag nor a sha256 digest`, {
    code: "config",
    fix: "Write a tag with letters, digits, dots, hyphens and underscores, 128 at most.",
  });
}
