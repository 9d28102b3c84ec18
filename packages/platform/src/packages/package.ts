/**
 * A service's package: its images by digest and its chart with profiles and encrypted secrets, made from one commit. The
 * same commit gives the same bytes, wherever and whenever it is packaged, so that a version means one thing for ever.
 */
import { posix } from "node:path";
import { UserError } from "@kws/base/errors";
import { buildImages } from "../images/build.ts";
import type { PrepareOptions } from "../images/prepare.ts";
import type { ProjectService } from "../project/workspace.ts";
import { localRegistry, type Provider } from "../providers/provider.ts";
import { writeArchive } from "./archive.ts";
import { refusePlaintext } from "./encrypted.ts";
import { helmPackage } from "./helm.ts";
import { refusePrivateKeys } from "./private-keys.ts";
import { dependsOnAnnotation, pinChart, type PinnedImage, refuseOverrides, sourceAnnotation } from "./pin.ts";
import { readRevision, type Revision } from "./revision.ts";
import { type ChartSource, readSource } from "./source.ts";
import { type PackageStore, type StoredPackage } from "./store.ts";
import { developmentVersion, dirtied, isVersion, tagOf } from "./version.ts";

export interface PackageOptions extends PrepareOptions {
  /** The workspace's name. */
  workspace: string;
  /** `HOST/PATH` of the registry that the package is for; without one it is for this machine. */
  registry?: string;
  /** Instead of the version that git gives. */
  version?: string;
  /** Package what is not committed, as a version that says so. */
  allowDirty: boolean;
  /** Look for newer base images. */
  pull?: boolean;
  /** Builds the images. */
  builder: Provider;
  store: PackageStore;
  /** The program. */
  helm: string;
}

export async function packageService(
  service: ProjectService,
  options: PackageOptions,
): Promise<StoredPackage & { changed: boolean }> {
  const revision = await readRevision(service, options);
  if (revision.changes.length > 0 && !options.allowDirty) throw uncommitted(service, revision.changes);
  const chart = await readSource(service, options);
  const version = versionOf(service, chart, revision, options.version);
  await refusePrivateKeys(chart);
  await refusePlaintext(chart);
  refuseOverrides(chart, imageKeys(service));
  const images = await build(service, version, options);
  const prefix = options.registry ?? `${localRegistry}/${options.workspace}`;
  const annotations = annotationsOf(service, revision, images);
  const files = await helmPackage(pinChart(chart, { version, annotations, images }), {
    ...options,
    name: service.name,
    dir: chart.dir,
    digests: images.map(({ digest }) => digest),
  });
  await refuseChanged(service, revision, options);
  return options.store.add({
    archive: await writeArchive(files, revision.time),
    chartYaml: files.get(`${service.name}/Chart.yaml`) ?? new Uint8Array(),
    repository: `${prefix}/charts/${service.name}`,
    version,
    images,
    builder: options.builder,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

function versionOf(
  service: ProjectService,
  chart: ChartSource,
  revision: Revision,
  given: string | undefined,
): string {
  const dirty = revision.changes.length > 0;
  if (given !== undefined) {
    if (!isVersion(given)) {
      throw new UserError(`"${given}" is not a version`, { code: "usage", fix: "Write it like 1.4.0." });
    }
    return dirty ? dirtied(given, revision.commit) : given;
  }
  const tagged = revision.tag !== undefined && revision.distance === 0;
  if (revision.shallow && !tagged) {
    throw new UserError(`the clone of ${service.name} is shallow, so its version cannot be told`, {
      code: "config",
      at: service.dir,
      fix: "Run `git fetch --unshallow --tags`, or give --version.",
    });
  }
  return developmentVersion({ ...revision, dirty }, chart.version);
}

/** Where the chart's values hold the images that the service builds. */
function imageKeys({ config }: ProjectService): { keys: string[] }[] {
  if (config.build !== undefined) return [{ keys: ["image"] }];
  return Object.keys(config.images ?? {}).map((key) => ({ keys: [key, "image"] }));
}

async function build(
  service: ProjectService,
  version: string,
  options: PackageOptions,
): Promise<PinnedImage[]> {
  const { builder, workspace, cache, env, signal, onProgress } = options;
  const tag = tagOf(version);
  const { images } = await buildImages(service, builder, workspace, {
    cache,
    env,
    tag,
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(options.pull === undefined ? {} : { pull: options.pull }),
  });
  const places = imageKeys(service);
  return images.map(({ repository, digest }, index) => ({
    keys: places[index]?.keys ?? [],
    repository:
      options.registry === undefined ? repository : `${options.registry}/${posix.basename(repository)}`,
    tag,
    digest,
  }));
}

/** https://github.com/opencontainers/image-spec/blob/main/annotations.md, and what kws asks a package later. */
function annotationsOf(
  service: ProjectService,
  { commit, time, source }: Revision,
  images: PinnedImage[],
): Record<string, string> {
  return {
    ...(source === undefined ? {} : { [sourceAnnotation]: source }),
    "org.opencontainers.image.revision": commit,
    "org.opencontainers.image.created": new Date(time * 1000).toISOString().replace(".000Z", "Z"),
    "kws.dev/service": service.name,
    ...(images.length === 0 ? {} : { "kws.dev/images": images.map(referenceOf).join(",") }),
    ...(service.dependsOn.length === 0 ? {} : { [dependsOnAnnotation]: service.dependsOn.join(",") }),
  };
}

function referenceOf({ repository, digest }: PinnedImage): string {
  return `${repository}@${digest}`;
}

function uncommitted(service: ProjectService, changes: string[]): UserError {
  return new UserError(`${service.name} is not committed as it is${told(changes)}`, {
    code: "conflict",
    at: service.dir,
    fix: "Commit it; or try it on this machine with `kws package --allow-dirty`.",
  });
}

/** The first of some paths, to follow a sentence. */
function told(paths: string[]): string {
  if (paths.length === 0) return "";
  const more = paths.length > 3 ? `, and ${paths.length - 3} more` : "";
  return `: ${paths.slice(0, 3).join(", ")}${more}`;
}

/** A build takes a while, and editors stay open. */
async function refuseChanged(
  service: ProjectService,
  before: Revision,
  options: PackageOptions,
): Promise<void> {
  const now = await readRevision(service, options);
  const appeared = now.changes.filter((path) => !before.changes.includes(path));
  const gone = before.changes.filter((path) => !now.changes.includes(path));
  if (now.commit === before.commit && appeared.length + gone.length === 0) return;
  throw new UserError(`${service.name} changed while it was packaged${told([...appeared, ...gone])}`, {
    code: "conflict",
    at: service.dir,
    fix: "Package it again. Where the build wrote these files, name them in .gitignore.",
  });
}
