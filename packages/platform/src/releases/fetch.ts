/**
 * A package as it comes from this machine's store or from a registry: found by version, checked against its digests, and
 * unpacked like any archive of a stranger. Nothing in a cluster is looked at.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { isReference, parseReference } from "@kws/oci/reference";
import type { Repository, Waiting } from "@kws/oci/repository";
import { isMapping } from "../charts/layers.ts";
import { type ArchiveFiles, readArchive } from "../packages/archive.ts";
import { fetchArchive } from "../packages/store.ts";
import { compareVersions, isDirty, isVersion, tagOf } from "../packages/version.ts";
import { parseYaml } from "../project/yaml-file.ts";

/** Where the packages of a workspace are kept: the store of this machine, or a registry. */
export interface PackageSource {
  /** `registry.example.com/team/shop`, or `kws.local/<workspace>`. */
  prefix: string;
  repository(name: string): Repository;
}

export interface PackageRef {
  service: string;
  /** The newest that was made from a commit unless given. */
  version?: string | undefined;
  /** Of the chart's manifest; then this content is taken, whatever the version's tag names now. */
  digest?: string | undefined;
}

/** A package whose content is what its digests say. */
export interface FoundPackage {
  service: string;
  version: string;
  /** Of the chart's manifest. */
  digest: string;
  images: { repository: string; digest: string }[];
  /** When it was committed, RFC 3339. */
  created: string;
  /** The chart's archive, and its files; every path begins with the service's name. */
  archive: Uint8Array;
  files: ArchiveFiles;
}

/** Of those who fetch many. */
export const fetchesAtATime = 4;

/** Throws `not-found` where there is no such package. */
export async function fetchPackage(
  source: PackageSource,
  { service, version, digest }: PackageRef,
  options: Waiting = {},
): Promise<FoundPackage> {
  const charts = source.repository(`${source.prefix}/charts/${service}`);
  if (version !== undefined) return fetchVersion(charts, { service, version, digest }, options);
  const newest = await newestVersions(charts, service, options);
  const found = await Promise.all(
    newest.map((one) => fetchVersion(charts, { service, version: one }, options)),
  );
  const [last] = found.sort((a, b) => b.created.localeCompare(a.created));
  if (last === undefined) throw notThere(charts, service);
  return last;
}

async function fetchVersion(
  charts: Repository,
  { service, version, digest }: PackageRef & { version: string },
  options: Waiting,
): Promise<FoundPackage> {
  const where = `${service} ${version}`;
  if (!isVersion(version)) {
    throw new UserError(`"${version}" is not a version`, { code: "usage", fix: "Write it like 1.4.0." });
  }
  const archive = await fetchArchive(charts, digest ?? tagOf(version), options).catch((error: unknown) => {
    if (!(error instanceof UserError) || error.code !== "not-found") throw error;
    throw notThere(charts, where, error);
  });
  const files = await readArchive(archive.bytes, where);
  const metadata = files.get(`${service}/Chart.yaml`);
  const stray = [...files.keys()].some((path) => !path.startsWith(`${service}/`));
  if (metadata === undefined || stray) throw refused(where, "it is not the service's chart");
  const { value } = parseYaml(`${where}/Chart.yaml`, Buffer.from(metadata).toString());
  const chart = isMapping(value) ? value : {};
  if (chart["name"] !== service || chart["version"] !== version) {
    throw refused(where, `it is ${JSON.stringify(chart["name"])} ${JSON.stringify(chart["version"])}`);
  }
  const annotations = isMapping(chart["annotations"]) ? chart["annotations"] : {};
  const said = (key: string) => (typeof annotations[key] === "string" ? annotations[key] : "");
  if (said("kws.dev/service") !== service) throw refused(where, "it was not made by `kws package`");
  return {
    service,
    version,
    digest: archive.digest,
    images: imagesIn(said("kws.dev/images"), where),
    created: said("org.opencontainers.image.created"),
    archive: archive.bytes,
    files,
  };
}

/** The highest by SemVer that were made from commits: more than one where they differ by their build metadata alone. */
async function newestVersions(charts: Repository, service: string, options: Waiting): Promise<string[]> {
  const versions = (await charts.tags(options))
    .map((tag) => tag.replace("_", "+"))
    .filter((version) => isVersion(version) && !isDirty(version))
    .sort(compareVersions);
  const highest = versions.at(-1);
  if (highest === undefined) throw notThere(charts, service);
  return versions.filter((version) => compareVersions(version, highest) === 0);
}

function imagesIn(list: string, where: string): FoundPackage["images"] {
  return list
    .split(",")
    .filter((reference) => reference !== "")
    .map((reference) => {
      const { name, digest } = isReference(reference) ? parseReference(reference) : {};
      if (name !== undefined && digest !== undefined) return { repository: name, digest };
      throw refused(where, "it does not name its images by digest");
    });
}

/** Writes the package's chart below the folder and answers its own folder. What is secret in it stays encrypted. */
export async function unpackPackage({ service, files }: FoundPackage, folder: string): Promise<string> {
  const folders = new Set([...files.keys()].map((path) => dirname(path)));
  for (const path of folders) await mkdir(join(folder, path), { recursive: true });
  await Promise.all([...files].map(([path, content]) => writeFile(join(folder, path), content)));
  return join(folder, service);
}

function notThere(charts: Repository, what: string, cause?: unknown): UserError {
  return new UserError(`there is no package ${what} in ${charts.name}`, {
    code: "not-found",
    fix:
      charts.remote === undefined
        ? "See `kws package list`, or make it with `kws package`."
        : "Bring it there with `kws publish`.",
    cause,
  });
}

function refused(where: string, why: string): UserError {
  return new UserError(`the package ${where} is refused: ${why}`, {
    code: "config",
    fix: "Make it with `kws package`.",
  });
}
