/** From services, versions and profiles to the entries of a manifest, and whether plain Helm can install what came of them. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { mergeLayers, openLayers } from "../charts/layers.ts";
import { profileLayers, profileNames, unknownProfile } from "../charts/profiles.ts";
import { renderManifests, type RenderOptions } from "../charts/render.ts";
import { suggest } from "../project/nearest.ts";
import { defaultProfile } from "../project/workspace.ts";
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

/** Fetches the packages and reads their profiles' plain values. What is secret stays closed. */
export async function openEntries(wanted: EntryRequest[], options: OpenOptions): Promise<Entry[]> {
  const limit = limiter(fetchesAtATime);
  const opened = await Promise.all(wanted.map((one) => limit(() => openEntry(one, options))));
  const plain = wanted.find(({ chosen, profile }) => !chosen && profile !== defaultProfile)?.profile;
  if (plain !== undefined && !opened.some(({ known }) => known.includes(plain))) {
    const known = [...new Set(opened.flatMap((one) => one.known))];
    throw new UserError(`no package has the profile "${plain}"`, {
      code: "not-found",
      fix: suggest(plain, known, `Add profiles/${plain}/values.yaml to a chart.`),
    });
  }
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
): Promise<{ entry: Entry; known: string[] }> {
  const { profile, dependsOn, chosen } = wanted;
  const found = await fetchPackage(source, wanted, { signal });
  const dir = await unpackPackage(found, folder);
  const known = await profileNames(dir);
  const has = known.includes(profile);
  if (!has && chosen) throw unknownProfile(`${found.service} ${found.version}`, profile, known);
  const layers = await profileLayers(dir, has ? profile : undefined);
  const plain = await openLayers(
    layers.filter(({ kind }) => kind !== "secrets"),
    () => Promise.reject(new Error("no secrets are opened here")),
  );
  return { entry: { found, profile, dependsOn, values: mergeLayers(plain) }, known };
}

/** The most that a Secret can hold, in which Helm keeps a release (`MaxSecretSize` of Kubernetes). */
const maxSecret = 1024 * 1024;

/**
 * Whether Helm could keep the manifest as one release. What does not render without secrets is taken to fit.
 */
export async function fitsOneRelease(
  { name, archive, packages }: StoredManifest,
  { folder, ...options }: Pick<RenderOptions, "helm" | "env" | "signal"> & { folder: string },
): Promise<boolean> {
  const file = join(folder, `${name}.tgz`);
  await writeFile(file, archive);
  try {
    const chart = { dir: file, layers: [], values: {} };
    const manifest = await renderManifests(chart, { ...options, release: name, namespace: name });
    const packed = await promisify(gzip)(JSON.stringify({ manifest, packages }), { level: 9 });
    return Math.ceil(packed.length / 3) * 4 < maxSecret;
  } catch (error) {
    if (error instanceof UserError) return true;
    throw error;
  }
}
