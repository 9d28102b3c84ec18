/**
 * A package as it comes from this machine's store or from a registry: found by version, checked against its digests, and
 * unpacked like any archive of a stranger. Nothing in a cluster is looked at.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { parseDocument, readManifest } from "@kws/oci/manifest";
import { isReference, parseReference } from "@kws/oci/reference";
import type { Repository, Waiting } from "@kws/oci/repository";
import { isMapping } from "../charts/layers.ts";
import { limits, readArchive } from "../packages/archive.ts";
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
  /** The newest unless given. */
  version?: string | undefined;
  /** Of the chart's manifest; what is found must have it. */
  digest?: string | undefined;
}

/** A package that was found, and whose documents are what their digests say. */
export interface FoundPackage {
  service: string;
  version: string;
  /** Of the chart's manifest. */
  digest: string;
  /** The package's images. */
  images: { repository: string; digest: string }[];
  /** The commit. */
  revision: string;
  /** The chart's archive. */
  archive: Uint8Array;
}

/** Throws `not-found` where there is no such version. */
export async function fetchPackage(
  source: PackageSource,
  wanted: PackageRef,
  options: Waiting = {},
): Promise<FoundPackage> {
  const charts = source.repository(`${source.prefix}/charts/${wanted.service}`);
  const version = wanted.version ?? (await newestVersion(charts, wanted.service, options));
  const where = `${charts.name}:${tagOf(version)}`;
  const { descriptor, bytes } = await charts.manifest(wanted.digest ?? tagOf(version), options);
  const document = parseDocument(bytes, where);
  const { layers } = readManifest(document, where);
  const said = annotationsOf(document);
  const [chart] = layers;
  if (chart === undefined || layers.length !== 1 || chart.size > limits.total) {
    throw refused(where, "it is no chart, or too big for one");
  }
  if (said("org.opencontainers.image.version") !== version) {
    throw refused(where, `it says that it is ${said("org.opencontainers.image.version") || "of no version"}`);
  }
  if (said("kws.dev/service") !== wanted.service) {
    throw refused(where, "it was not made by `kws package` for this service");
  }
  return {
    service: wanted.service,
    version,
    digest: descriptor.digest,
    images: imagesIn(said("kws.dev/images"), where),
    revision: said("org.opencontainers.image.revision"),
    archive: await contentOf(charts.blob(chart, options)),
  };
}

/** The highest by SemVer that was made from a commit. Of equal ones, which differ by their commits, the last committed. */
async function newestVersion(charts: Repository, service: string, options: Waiting): Promise<string> {
  const versions = (await charts.tags(options))
    .map((tag) => tag.replace("_", "+"))
    .filter((version) => isVersion(version) && !isDirty(version))
    .sort(compareVersions);
  const highest = versions.at(-1);
  if (highest === undefined) {
    throw new UserError(`there is no package of ${service} in ${charts.name}`, {
      code: "not-found",
      fix: `Make one with \`kws ${charts.remote === undefined ? "package" : "publish"} ${service}\`.`,
    });
  }
  const equal = versions.filter((version) => compareVersions(version, highest) === 0);
  if (equal.length === 1) return highest;
  const dated = await Promise.all(
    equal.map(async (version) => {
      const { bytes } = await charts.manifest(tagOf(version), options);
      const said = annotationsOf(parseDocument(bytes, charts.name));
      return { version, created: said("org.opencontainers.image.created") };
    }),
  );
  return dated.sort((a, b) => a.created.localeCompare(b.created)).at(-1)?.version ?? highest;
}

/** What a manifest's annotations say under a key; empty where they say nothing. */
function annotationsOf(document: unknown): (key: string) => string {
  const annotations = isMapping(document) ? document["annotations"] : undefined;
  return (key) => {
    const text = isMapping(annotations) ? annotations[key] : undefined;
    return typeof text === "string" ? text : "";
  };
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

async function contentOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

/** Writes the package's chart below the folder and answers its own folder. What is secret in it stays encrypted. */
export async function unpackPackage(one: FoundPackage, folder: string): Promise<string> {
  const where = `${one.service} ${one.version}`;
  const files = await readArchive(one.archive, where);
  const metadata = files.get(`${one.service}/Chart.yaml`);
  const stray = [...files.keys()].find((path) => !path.startsWith(`${one.service}/`));
  if (metadata === undefined || stray !== undefined) throw refused(where, "it is not the service's chart");
  const { value } = parseYaml(`${where}/Chart.yaml`, Buffer.from(metadata).toString());
  const { name, version } = (value ?? {}) as { name?: unknown; version?: unknown };
  if (name !== one.service || version !== one.version) {
    throw refused(where, `its Chart.yaml says that it is ${String(name)} ${String(version)}`);
  }
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return join(folder, one.service);
}

function refused(where: string, why: string): UserError {
  return new UserError(`${where} is refused: ${why}`, {
    code: "config",
    fix: "Make it with `kws package`.",
  });
}
