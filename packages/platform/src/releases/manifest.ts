/**
 * Manifests: umbrella charts that pin a set of packages by version and digest, each with its profile. They are numbered and
 * never change; plain Helm installs them, and kws deploys their packages one by one, in the order of their dependencies.
 */
import { readFile } from "node:fs/promises";
import { UserError } from "@kws/base/errors";
import { digestPattern } from "@kws/oci/descriptor";
import type { Repository, Waiting } from "@kws/oci/repository";
import { type Static, Type } from "typebox";
import { stringify } from "yaml";
import type { Values } from "../charts/layers.ts";
import { type ArchiveFiles, readArchive, writeArchive } from "../packages/archive.ts";
import { fetchArchive, pushChart } from "../packages/store.ts";
import { checkGraph } from "../project/graph.ts";
import { validate } from "../project/validate.ts";
import { parseYaml } from "../project/yaml-file.ts";
import type { FoundPackage, PackageSource } from "../packages/fetch.ts";

const name = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/** One package of a manifest. */
const Pin = Type.Object(
  {
    version: Type.String(),
    /** Of the package: of its chart's manifest. */
    digest: Type.String({ pattern: digestPattern.source }),
    profile: Type.String({ pattern: name }),
    /** Services of the same manifest that have to be ready before. */
    dependsOn: Type.Array(Type.String()),
  },
  { additionalProperties: false },
);

/** `packages.yaml` of the umbrella chart: what it pins. */
const Pins = Type.Object(
  { packages: Type.Record(Type.String({ pattern: name }), Pin, { additionalProperties: false }) },
  { additionalProperties: false },
);
type Pins = Static<typeof Pins>;

export interface Manifest {
  name: string;
  /** Of a name, counted from 1; the chart's version is `<number>.0.0`. */
  number: number;
  /** When the newest of its packages was committed, RFC 3339; empty where that is not known. */
  created: string;
  packages: ManifestPackage[];
}

export interface ManifestPackage extends Static<typeof Pin> {
  service: string;
}

/** A package with what a manifest says of it. */
export interface Entry {
  found: Pick<FoundPackage, "service" | "version" | "digest" | "created" | "archive">;
  profile: string;
  dependsOn: string[];
  /** Of the profile, the secrets among them encrypted. */
  values: Values;
}

/** A manifest as it is listed. */
export interface ManifestSummary {
  name: string;
  number: number;
  /** `repository:tag` of the chart. */
  chart: string;
  /** Of the chart's manifest. */
  digest: string;
  /** When the newest of its packages was committed, RFC 3339. */
  created: string;
  /** How many. */
  packages: number;
}

export interface StoredManifest extends Manifest {
  /** `repository:tag` of the chart. */
  chart: string;
  /** Of the chart's manifest. */
  digest: string;
  /** The bytes of the chart's archive. */
  archive: Uint8Array;
  /** False where the newest one of the name was so already. */
  changed: boolean;
}

/** Gives the set the next number, unless the newest manifest of the name is the same. The same set gives the same bytes. */
export async function storeManifest(
  source: PackageSource,
  name: string,
  entries: Entry[],
  options: Waiting = {},
): Promise<StoredManifest> {
  const repository = manifestRepository(source, name);
  const sorted = entries.toSorted((a, b) => (a.found.service < b.found.service ? -1 : 1));
  const newest = await newestNumber(repository, options);
  if (newest !== undefined) {
    const before = await fetchArchive(repository, `${newest}.0.0`, options);
    const same = await packUmbrella(source, { name, number: newest }, sorted);
    if (Buffer.compare(before.bytes, same.archive) === 0) {
      const { bytes, digest } = before;
      const chart = `${repository.name}:${newest}.0.0`;
      return { ...same.manifest, chart, digest, archive: bytes, changed: false };
    }
  }
  const number = (newest ?? 0) + 1;
  const { archive, chartYaml, manifest } = await packUmbrella(source, { name, number }, sorted);
  const tag = `${number}.0.0`;
  const digest = await pushChart(repository, { archive, chartYaml }, { ...options, tag, overwrite: false });
  return { ...manifest, chart: `${repository.name}:${tag}`, digest, archive, changed: true };
}

/** The umbrella chart of the packages. */
export async function packUmbrella(
  source: PackageSource,
  { name, number }: Pick<Manifest, "name" | "number">,
  entries: Entry[],
): Promise<{ archive: Uint8Array; chartYaml: Uint8Array; manifest: Manifest }> {
  const pins: Pins = {
    packages: Object.fromEntries(
      entries.map(({ found: { service, version, digest }, profile, dependsOn }) => [
        service,
        { version, digest, profile, dependsOn },
      ]),
    ),
  };
  const created =
    entries
      .map(({ found }) => found.created)
      .sort()
      .at(-1) ?? "";
  const remote = source.repository(`${source.prefix}/charts/${name}`).remote !== undefined;
  const chart = {
    apiVersion: "v2",
    name,
    version: `${number}.0.0`,
    description: `${entries.length} packages, pinned by packages.yaml`,
    annotations: { "org.opencontainers.image.created": created },
    dependencies: entries.map(({ found: { service, version } }) => ({
      name: service,
      version,
      ...(remote ? { repository: `oci://${source.prefix}/charts` } : {}),
    })),
  };
  const chartYaml = Buffer.from(yaml(chart));
  const files: ArchiveFiles = new Map([
    [`${name}/Chart.yaml`, chartYaml],
    [`${name}/packages.yaml`, Buffer.from(yaml(pins))],
    [
      `${name}/values.yaml`,
      Buffer.from(yaml(Object.fromEntries(entries.map(({ found, values }) => [found.service, values])))),
    ],
    [`${name}/values.schema.json`, Buffer.from(`${JSON.stringify(schema, undefined, 2)}\n`)],
    ...entries.map(({ found: { service, version, archive } }): [string, Uint8Array] => [
      `${name}/charts/${service}-${version}.tgz`,
      archive,
    ]),
  ]);
  const archive = await writeArchive(files, Math.floor(Date.parse(created || "1970-01-01") / 1000));
  return { archive, chartYaml, manifest: { name, number, created, packages: listOf(pins) } };
}

/** Refuses values that are still encrypted, so that plain Helm installs nothing without the secrets. */
const schema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  definitions: {
    open: {
      not: { type: "string", pattern: "ENC\\[AES256_GCM," },
      additionalProperties: { $ref: "#/definitions/open" },
      items: { $ref: "#/definitions/open" },
    },
  },
  allOf: [{ $ref: "#/definitions/open" }],
};

/** Helm reads YAML 1.1, in which more words need quotes. */
function yaml(value: unknown): string {
  return stringify(value, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
}

/** The manifests of the names, the newest of each first. */
export async function listManifests(
  source: PackageSource,
  names: string[],
  options: Waiting = {},
): Promise<ManifestSummary[]> {
  const lists = await Promise.all(
    names.map(async (name) => {
      const repository = manifestRepository(source, name);
      const numbers = await numbersIn(repository, options);
      return Promise.all(
        numbers.toReversed().map((number) => summaryOf(repository, { name, number }, options)),
      );
    }),
  );
  return lists.flat();
}

async function summaryOf(
  repository: Repository,
  { name, number }: Pick<Manifest, "name" | "number">,
  options: Waiting,
): Promise<ManifestSummary> {
  const { bytes, digest } = await fetchArchive(repository, `${number}.0.0`, options);
  const { packages, created } = await parseManifest(bytes, `${name}:${number}`);
  return {
    name,
    number,
    chart: `${repository.name}:${number}.0.0`,
    digest,
    created,
    packages: packages.length,
  };
}

/** A stored manifest by its name, the newest unless numbered: `shop`, `shop:3`. */
export async function fetchManifest(
  source: PackageSource,
  reference: string,
  options: Waiting = {},
): Promise<Manifest> {
  const [, name = "", wanted] = /^([^:]+)(?::([1-9]\d{0,8}))?$/.exec(reference) ?? [];
  if (name === "") {
    throw new UserError(`"${reference}" is not a manifest`, {
      code: "usage",
      fix: "Write it as its name, name:number, or the path of its archive.",
    });
  }
  const repository = manifestRepository(source, name);
  const number = wanted ?? (await newestNumber(repository, options));
  if (number === undefined || (await repository.resolve(`${number}.0.0`, options)) === undefined) {
    throw new UserError(`there is no manifest ${reference} in ${repository.name}`, {
      code: "not-found",
      fix: "Make one with `kws manifest build`.",
    });
  }
  const { bytes } = await fetchArchive(repository, `${number}.0.0`, options);
  return parseManifest(bytes, `${name}:${number}`);
}

/** A manifest from its archive. */
export async function readManifestFile(path: string): Promise<Manifest> {
  return parseManifest(await readFile(path), path);
}

async function parseManifest(bytes: Uint8Array, where: string): Promise<Manifest> {
  const files = await readArchive(bytes, where);
  const root = [...files.keys()][0]?.split("/")[0] ?? "";
  const read = (path: string) =>
    parseYaml(`${where}/${path}`, Buffer.from(files.get(`${root}/${path}`) ?? "").toString());
  const chart = read("Chart.yaml").value as {
    name?: unknown;
    version?: unknown;
    annotations?: { "org.opencontainers.image.created"?: string } | null;
  } | null;
  const number = /^([1-9]\d{0,8})\.0\.0$/.exec(String(chart?.version))?.[1];
  if (chart?.name !== root || number === undefined) {
    throw new UserError(`${where} is not a manifest of kws`, {
      code: "config",
      fix: "Make one with `kws manifest build`.",
    });
  }
  const packages = listOf(validate(read("packages.yaml"), Pins, "the manifest"));
  checkGraph(packages.map(({ service: name, dependsOn }) => ({ name, dependsOn })));
  return {
    name: root,
    number: Number(number),
    created: chart.annotations?.["org.opencontainers.image.created"] ?? "",
    packages,
  };
}

function listOf({ packages }: Pins): ManifestPackage[] {
  return Object.entries(packages).map(([service, pin]) => Object.assign({ service }, pin));
}

function manifestRepository(source: PackageSource, name: string): Repository {
  return source.repository(`${source.prefix}/manifests/${name}`);
}

async function newestNumber(repository: Repository, options: Waiting): Promise<number | undefined> {
  return (await numbersIn(repository, options)).at(-1);
}

async function numbersIn(repository: Repository, options: Waiting): Promise<number[]> {
  return (await repository.tags(options))
    .flatMap((tag) => /^([1-9]\d{0,8})\.0\.0$/.exec(tag)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}
