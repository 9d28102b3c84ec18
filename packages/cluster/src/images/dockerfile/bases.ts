/** The images that FROM and --from name: stored ones, and the base image of this machine, which is assembled when it is needed. */
import { UserError } from "@kws/base/errors";
import { baseImageConfig, baseImageName, baseImageReference, ensureBaseImage } from "../base-image.ts";
import type { HostNode } from "../base-image.ts";
import type { ImageConfig } from "@kws/oci/manifest";
import { canonicalReference } from "@kws/oci/reference";
import type { LocalImageStore, StoredImage } from "../store.ts";
import { syntaxError } from "./parse.ts";

interface Machine {
  store: LocalImageStore;
  /** The Node for the base image. */
  node: HostNode;
}

/** Throws `config` with the place for an image that cannot be had. */
export async function storedImage(machine: Machine, reference: string, at: string): Promise<StoredImage> {
  const name = nameOf(reference, at);
  if (isOwnBase(machine, name)) {
    const { digest } = await ensureBaseImage(machine.store, machine.node);
    const assembled = await machine.store.inspect(digest);
    if (assembled !== undefined) return assembled;
  }
  const stored = await machine.store.inspect(name);
  if (stored === undefined) throw unobtainable(machine, reference, name, at);
  return stored;
}

/**
 * The configuration of an image, which is not assembled for that. Undefined for one that is not stored and that another build
 * may make; throws as `storedImage` for all others.
 */
export async function configOfBase(
  machine: Machine,
  reference: string,
  at: string,
): Promise<ImageConfig | undefined> {
  const name = nameOf(reference, at);
  if (isOwnBase(machine, name)) return baseImageConfig(machine.node.version);
  const stored = await machine.store.inspect(name);
  if (stored !== undefined) return stored.document.config;
  if (name.startsWith("kws.local/") && !name.startsWith(`${baseImageName}:`)) return undefined;
  throw unobtainable(machine, reference, name, at);
}

function nameOf(reference: string, at: string): string {
  if (reference === "") throw syntaxError(at, "the image's name is empty", "give its ARG a default");
  return canonicalReference(reference);
}

function isOwnBase({ node }: Machine, name: string): boolean {
  return name === baseImageReference(node.version) || name === `${baseImageName}:latest`;
}

function unobtainable({ node }: Machine, reference: string, name: string, at: string): UserError {
  const own = baseImageReference(node.version);
  if (name.startsWith(`${baseImageName}:`)) {
    return new UserError(`${reference} cannot be assembled: kws runs on Node ${node.version}`, {
      code: "config",
      at,
      fix: `use ${own}`,
    });
  }
  const isNode = /(?:^|\/)node:/.test(name);
  return new UserError(
    `the image ${reference} is not in the image store, and images cannot be pulled from a registry yet`,
    {
      code: "config",
      at,
      fix: isNode
        ? `build on ${own}, which is assembled from this machine's Node`
        : `build on ${own}, which is assembled from this machine, or on an image that kws built`,
    },
  );
}
