/** Brings a package of this machine to the registry that it is for: its images first and its chart last. */
import { UserError } from "@kws/base/errors";
import { copy } from "@kws/oci/copy";
import { userCredentials } from "@kws/oci/credentials";
import { parseReference } from "@kws/oci/reference";
import { openRegistries, type Registries } from "@kws/oci/registry";
import type { PackageStore, StoredPackage } from "./store.ts";

export interface PublishOptions {
  store: PackageStore;
  registries: Registries;
  signal?: AbortSignal;
}

/** Registries as the user has logged in to them with Docker or Helm. */
export function userRegistries(env: NodeJS.ProcessEnv): Registries {
  return openRegistries({ env, credentials: userCredentials(env) });
}

/** False where the registry has it already. Throws `conflict` where the registry has the version with other content. */
export async function publishPackage(one: StoredPackage, options: PublishOptions): Promise<boolean> {
  const { store, registries, signal } = options;
  const waiting = signal === undefined ? {} : { signal };
  if (one.dirty) {
    throw new UserError(`${one.service} ${one.version} holds what is not committed`, {
      code: "conflict",
      fix: "Commit it, and package it again.",
    });
  }
  const { name, tag = "" } = parseReference(one.chart);
  const charts = registries.repository(name);
  const existing = await charts.resolve(tag, waiting);
  if (existing?.digest === one.digest) return false;
  if (existing !== undefined) {
    throw new UserError(
      `${one.chart} is published with other content: it is ${existing.digest}, and this is ${one.digest}`,
      { code: "conflict", fix: "Publish it under another version; one that is published stays as it is." },
    );
  }
  const write = { ...waiting, tag, overwrite: false };
  for (const image of one.images) {
    const { name: repository, digest = "" } = parseReference(image);
    const from = store.repository(repository);
    const { descriptor } = await from.manifest(digest, waiting);
    await copy(from, registries.repository(repository), descriptor, write);
  }
  const from = store.repository(name);
  const { descriptor } = await from.manifest(tag, waiting);
  await copy(from, charts, descriptor, write);
  return true;
}
