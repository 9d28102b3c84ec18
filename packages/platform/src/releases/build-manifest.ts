/** From services, versions and profiles to the entries of a manifest, and how large what came of them is for Helm. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { type Decrypt, isMapping, mergeLayers, openLayers, type Values } from "../charts/layers.ts";
import { type AskedProfile, profileLayers, profileNames, refuseUnknownProfiles } from "../charts/profiles.ts";
import { renderRelease, type RenderOptions } from "../charts/render.ts";
import { parseYaml } from "../project/yaml-file.ts";
import {
  fetchesAtATime,
  fetchPackage,
  type PackageRef,
  type PackageSource,
  unpackPackage,
} from "../packages/fetch.ts";
import type { Entry, StoredManifest } from "./manifest.ts";

export interface EntryRequest extends PackageRef {
  profile: string;
  /** The profile was chosen for this service; one that the chart lacks is refused then, and otherwise adds nothing. */
  chosen: boolean;
  dependsOn: string[];
}

/** Fetches the packages and reads their profiles' values. What is secret stays encrypted. */
export async function openEntries(wanted: EntryRequest[], options: OpenOptions): Promise<Entry[]> {
  const limit = limiter(fetchesAtATime);
  const opened = await Promise.all(wanted.map((one) => limit(() => openEntry(one, options))));
  refuseUnknownProfiles(opened.map(({ asked }) => asked));
  return opened.map(({ entry }) => entry);
}

export interface OpenOptions {
  source: PackageSource;
  /** Private, and removed by the caller. */
  folder: string;
  signal: AbortSignal;
}

async function openEntry(
  wanted: EntryRequest,
  { source, folder, signal }: OpenOptions,
): Promise<{ entry: Entry; asked: AskedProfile }> {
  const { profile, dependsOn, chosen } = wanted;
  const found = await fetchPackage(source, wanted, { signal });
  const dir = await unpackPackage(found, folder);
  const known = await profileNames(dir);
  const has = known.includes(profile);
  const layers = await profileLayers(dir, has ? profile : undefined);
  const sealed: Decrypt = (file, text) => Promise.resolve(withoutMetadata(parseYaml(file, text).value));
  const values = mergeLayers(await openLayers(layers, sealed));
  const asked = { name: `${found.service} ${found.version}`, profile, chosen, known };
  return { entry: { found, profile, dependsOn, values }, asked };
}

/** A file of SOPS without what SOPS itself keeps there. */
function withoutMetadata(value: unknown): Values {
  return isMapping(value) ? Object.fromEntries(Object.entries(value).filter(([key]) => key !== "sops")) : {};
}

/**
 * Bytes that Helm would keep of the manifest as one release, without its secrets; undefined where it does not render without
 * them.
 */
export async function releaseSize(
  { name, archive }: StoredManifest,
  { folder, ...options }: Pick<RenderOptions, "helm" | "env" | "signal"> & { folder: string },
): Promise<number | undefined> {
  const file = join(folder, `${name}.tgz`);
  await writeFile(file, archive);
  try {
    const chart = { dir: file, layers: [], values: {} };
    return (await renderRelease(chart, { ...options, release: name, namespace: name, withoutSchema: true }))
      .size;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}
