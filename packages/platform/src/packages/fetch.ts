/**
 * A package as it comes from this machine's store or from a registry: found by version, checked against its digests, and
 * unpacked like any archive of a stranger. Nothing in a cluster is looked at.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { isReference, parseReference } from "@kws/oci/reference";
import type { Repository, Waiting } from "@kws/oci/repository";
import { isMapping, type Values } from "../charts/layers.ts";
import { parseYaml } from "../project/yaml-file.ts";
import { type ArchiveFiles, readArchive } from "./archive.ts";
import { dependsOnAnnotation } from "./pin.ts";
import { highestIn, parseRange } from "./range.ts";
import { fetchArchive } from "./store.ts";
import { isDirty, isVersion, tagOf } from "./version.ts";

/** Where the packages of a workspace are kept: the store of this machine, or a registry. */
export interface PackageSource {
  /** `registry.example.com/team/shop`, or `kws.local/<workspace>`. */
  prefix: string;
  repository(name: string): Repository;
}

export interface PackageRef {
  service: string;
  /** Or a range, of which the newest is taken; of all that were made from a commit unless given. */
  version?: string | undefined;
  /** Of the chart's manifest; then this content is taken, whatever the version's tag names now. */
  digest?: string | undefined;
}

/** A package whose content is what its digests say. */
export interface FoundPackage {
  service: string;
  /** The name of its chart. */
  chart: string;
  version: string;
  /** Of the chart's manifest. */
  digest: string;
  images: { repository: string; digest: string }[];
  /** Services. */
  dependsOn: string[];
  /** When it was committed, RFC 3339. */
  created: string;
  /** The chart's archive, and its files; every path begins with the chart's name. */
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
  if (version !== undefined && isVersion(version)) {
    return fetchVersion(charts, { service, version, digest }, options);
  }
  const newest = await newestVersions(charts, service, version, options);
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
  const archive = await fetchArchive(charts, digest ?? tagOf(version), options).catch((error: unknown) => {
    if (!(error instanceof UserError) || error.code !== "not-found") throw error;
    throw notThere(charts, where, error);
  });
  const { files, annotations } = await openChart(archive.bytes, { chart: service, version, where });
  const said = (key: string) => (typeof annotations[key] === "string" ? annotations[key] : "");
  if (said("kws.dev/service") !== service) throw refused(where, "it was not made by `kws package`");
  return {
    service,
    chart: service,
    version,
    digest: archive.digest,
    images: imagesIn(said("kws.dev/images"), where),
    dependsOn: said(dependsOnAnnotation)
      .split(",")
      .filter((name) => name !== ""),
    created: said("org.opencontainers.image.created"),
    archive: archive.bytes,
    files,
  };
}

/** The files of a chart's archive, which must be that chart in that version, and what its Chart.yaml notes. */
export async function openChart(
  archive: Uint8Array,
  { chart, version, where }: { chart: string; version: string; where: string },
): Promise<{ files: ArchiveFiles; annotations: Values }> {
  const files = await readArchive(archive, where);
  const metadata = files.get(`${chart}/Chart.yaml`);
  const stray = [...files.keys()].some((path) => !path.startsWith(`${chart}/`));
  if (metadata === undefined || stray) throw refused(where, `it is not the chart ${chart}`);
  const { value } = parseYaml(`${where}/Chart.yaml`, Buffer.from(metadata).toString());
  const said = isMapping(value) ? value : {};
  if (said["name"] !== chart || said["version"] !== version) {
    throw refused(where, `it is ${JSON.stringify(said["name"])} ${JSON.stringify(said["version"])}`);
  }
  return { files, annotations: isMapping(said["annotations"]) ? said["annotations"] : {} };
}

/** The highest by SemVer that were made from commits: more than one where they differ by their build metadata alone. */
async function newestVersions(
  charts: Repository,
  service: string,
  range: string | undefined,
  options: Waiting,
): Promise<string[]> {
  const includes = range === undefined ? () => true : parseRange(range);
  const versions = (await charts.tags(options)).map((tag) => tag.replace("_", "+"));
  const newest = highestIn(
    versions.filter((version) => !isDirty(version)),
    includes,
  );
  if (newest.length > 0) return newest;
  throw notThere(charts, range === undefined ? service : `${service} ${range}`);
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
export async function unpackPackage(
  { service, chart, files }: FoundPackage,
  folder: string,
): Promise<string> {
  const own = join(folder, service);
  const folders = new Set([...files.keys()].map((path) => dirname(path)));
  for (const path of folders) await mkdir(join(own, path), { recursive: true });
  await Promise.all([...files].map(([path, content]) => writeFile(join(own, path), content)));
  return join(own, chart);
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
    fix: "Make it with `kws package`; what others made is named by its address, with `chart`.",
  });
}
