/**
 * The packages of this machine: an OCI image layout that holds charts as Helm pushes them, and their images. A chart gets its
 * name last, so what is listed is whole, whatever interrupted its making.
 */
import { join } from "node:path";
import { copy } from "@kws/oci/copy";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { type Layout, openLayout, referenceAnnotation } from "@kws/oci/layout";
import { parseDocument, readManifest } from "@kws/oci/manifest";
import { parseReference } from "@kws/oci/reference";
import type { PushManifestOptions, Repository } from "@kws/oci/repository";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { withLock } from "@kws/base/lock";
import { parse } from "yaml";
import type { Provider } from "../providers/provider.ts";
import { limits } from "./archive.ts";
import { reachable, sweep, type Swept } from "./sweep.ts";
import { isDirty, tagOf } from "./version.ts";

/** https://helm.sh/docs/topics/registries/#helm-chart-manifest */
const helmTypes = {
  config: "application/vnd.cncf.helm.config.v1+json",
  chart: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
} as const;

export interface StoredPackage {
  service: string;
  version: string;
  /** `repository:tag` of the chart. */
  chart: string;
  /** Of the chart's manifest. */
  digest: string;
  /** `repository@digest` each. */
  images: string[];
  /** The commit. */
  revision: string;
  /** The commit's time, RFC 3339. */
  created: string;
  /** Made from what is in no commit. */
  dirty: boolean;
}

export interface NewPackage extends ChartArchive {
  /** Of the chart. */
  repository: string;
  version: string;
  images: { repository: string; digest: string }[];
  /** Has the images. */
  builder: Pick<Provider, "imageRepository">;
  signal?: AbortSignal;
}

export interface PackageStore {
  repository(name: string): Repository;
  /** Throws `conflict` where the version is there with other content, unless it is one of uncommitted files. */
  add(given: NewPackage): Promise<StoredPackage & { changed: boolean }>;
  /** By the chart's reference. */
  list(): Promise<StoredPackage[]>;
  /** The repositories of manifests, by name. */
  manifests(): Promise<string[]>;
  /** With their images, and what nothing else needs of these. `now` in milliseconds since the epoch. */
  remove(packages: StoredPackage[], now: number): Promise<Swept>;
}

/** Below the root of the user's data. */
export async function openPackageStore(data: string): Promise<PackageStore> {
  const layout = await openLayout(join(data, "packages"));
  return {
    repository: (name) => layout.repository(name),
    add: (given) => whileWriting(layout, () => add(layout, given)),
    remove: (packages, now) => whileWriting(layout, () => remove(layout, packages, now)),
    async manifests() {
      const names = (await layout.references()).map(
        (entry) => parseReference(entry.annotations?.[referenceAnnotation] ?? "").name,
      );
      return [...new Set(names.filter((name) => /\/manifests\/[^/]+$/.test(name)))].toSorted();
    },
    async list() {
      const names = (await layout.references()).map(
        (entry) => entry.annotations?.[referenceAnnotation] ?? "",
      );
      const found = await Promise.all(names.toSorted().map((name) => readPackage(layout, name)));
      return found.filter(({ service }) => service !== "");
    },
  };
}

/**
 * One process at a time: a package that is added may share blobs with one that is removed, and counts on those that it found.
 */
async function whileWriting<T>(layout: Layout, work: () => Promise<T>): Promise<T> {
  return withLock(join(layout.dir, "packages.lock"), work, 600_000);
}

/** Names go first, so that what is killed half way leaves packages whole or gone; the next removal takes the rest. */
async function remove(layout: Layout, packages: StoredPackage[], now: number): Promise<Swept> {
  const before = await reachable(layout.blobs, await layout.references());
  const gone = new Set(
    packages.flatMap(({ chart, images }) => {
      // Images have the tags of their packages.
      const { tag } = parseReference(chart);
      return [chart, ...images.map((image) => `${parseReference(image).name}:${tag}`)];
    }),
  );
  const left = await layout.changeReferences((entries) =>
    entries.filter(({ annotations }) => !gone.has(annotations?.[referenceAnnotation] ?? "")),
  );
  return sweep(layout, { before, keep: await reachable(layout.blobs, left), now });
}

async function add(layout: Layout, given: NewPackage): Promise<StoredPackage & { changed: boolean }> {
  const { repository, version, signal } = given;
  const waiting = signal === undefined ? {} : { signal };
  const tag = tagOf(version);
  const charts = layout.repository(repository);
  const { manifest } = chartManifest(given);
  const before = await charts.resolve(tag);
  if (before !== undefined && before.digest !== sha256(manifest) && !isDirty(version)) {
    throw new UserError(`${repository}:${tag} was packaged before, with other content`, {
      code: "conflict",
      fix: "Commit a change or give another version. Where nothing changed, the build is not reproducible: look for times, random names or downloads in it.",
    });
  }
  for (const image of given.images) {
    const from = await given.builder.imageRepository(image.repository);
    const { descriptor } = await from.manifest(image.digest, waiting);
    await copy(from, layout.repository(image.repository), descriptor, { ...waiting, tag });
  }
  await pushChart(charts, given, { ...waiting, tag, overwrite: isDirty(version) });
  return {
    ...(await readPackage(layout, `${repository}:${tag}`)),
    changed: before === undefined || before.digest !== sha256(manifest),
  };
}

export interface ChartArchive {
  /** The bytes of the chart's archive. */
  archive: Uint8Array;
  /** Of the archive. */
  chartYaml: Uint8Array;
}

/** Brings a chart to a repository as `helm push` does; its name comes last. Answers its manifest's digest. */
export async function pushChart(
  repository: Repository,
  chart: ChartArchive,
  options: PushManifestOptions,
): Promise<string> {
  const { manifest, blobs } = chartManifest(chart);
  const { signal } = options;
  for (const { descriptor, content } of blobs) {
    await repository.pushBlob(descriptor, () => once(content), { signal });
  }
  return (await repository.pushManifest(manifest, mediaTypes.manifest, options)).digest;
}

/** As `helm push` makes it, but for the time, which is the commit's. */
function chartManifest({ archive, chartYaml }: ChartArchive) {
  const metadata = parse(Buffer.from(chartYaml).toString()) as ChartMetadata;
  const config = blobOf(helmTypes.config, Buffer.from(JSON.stringify(metadata)));
  const chart = blobOf(helmTypes.chart, archive);
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: config.descriptor,
    layers: [chart.descriptor],
    annotations: annotationsOf(metadata),
  };
  return { manifest: Buffer.from(JSON.stringify(manifest)), blobs: [config, chart] };
}

function blobOf(mediaType: string, content: Uint8Array) {
  return { descriptor: { mediaType, digest: sha256(content), size: content.length }, content };
}

/** A chart's archive from this machine or from a registry, verified by the digest that its manifest has for it. */
export async function fetchArchive(
  repository: Repository,
  reference: string,
  options: { signal?: AbortSignal } = {},
): Promise<{ digest: string; bytes: Uint8Array }> {
  const where = `${repository.name}:${reference}`;
  const { descriptor, bytes } = await repository.manifest(reference, options);
  const { layers } = readManifest(parseDocument(bytes, where), where);
  const archive = layers.find(({ mediaType }) => mediaType === helmTypes.chart);
  if (archive === undefined || archive.size > limits.total) {
    const what = archive === undefined ? "is no Helm chart" : "is larger than a chart may be";
    throw new UserError(`${where} ${what}`, { code: "config" });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.blob(archive, options)) chunks.push(chunk);
  return { digest: descriptor.digest, bytes: Buffer.concat(chunks) };
}

/** Writes the chart's archive into the folder, as `helm package` names it; answers its path. */
export async function exportChart(store: PackageStore, one: StoredPackage, folder: string): Promise<string> {
  const { name, tag = "" } = parseReference(one.chart);
  const { bytes } = await fetchArchive(store.repository(name), tag);
  const path = join(folder, `${one.service}-${one.version}.tgz`);
  await makeFolder(folder);
  await replaceFile(path, bytes);
  return path;
}

interface ChartMetadata {
  name: string;
  version: string;
  description?: string;
  annotations?: Record<string, string>;
}

/** As `helm push` fills them from Chart.yaml. */
function annotationsOf({ name, version, description, annotations }: ChartMetadata): Record<string, string> {
  return {
    ...(description === undefined ? {} : { "org.opencontainers.image.description": description }),
    ...annotations,
    "org.opencontainers.image.title": name,
    "org.opencontainers.image.version": version,
  };
}

/** Without a service for what is an image. */
async function readPackage(layout: Layout, chart: string): Promise<StoredPackage> {
  const { name, tag = "" } = parseReference(chart);
  const { descriptor, bytes } = await layout.repository(name).manifest(tag);
  const { annotations = {} } = JSON.parse(Buffer.from(bytes).toString()) as ChartMetadata;
  const version = annotations["org.opencontainers.image.version"] ?? "";
  return {
    service: annotations["kws.dev/service"] ?? "",
    version,
    chart,
    digest: descriptor.digest,
    images: annotations["kws.dev/images"]?.split(",") ?? [],
    revision: annotations["org.opencontainers.image.revision"] ?? "",
    created: annotations["org.opencontainers.image.created"] ?? "",
    dirty: isDirty(version),
  };
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
