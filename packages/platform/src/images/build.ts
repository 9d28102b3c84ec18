/** A service's images: prepared and built by the provider, and told to the chart as values. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import {
  type BuildImageContext,
  type BuiltImage,
  type ImageBuild,
  localRegistry,
  type Provider,
} from "../providers/provider.ts";
import type { Build } from "../project/schema.ts";
import { inside, type ProjectService } from "../project/workspace.ts";
import { aloneIn, prepare, type PrepareOptions } from "./prepare.ts";

export interface BuildOptions extends PrepareOptions, BuildImageContext {
  /** The images' tag; `dev` unless given. */
  tag?: string;
}

export interface ServiceImages {
  images: BuiltImage[];
  /** `image: { repository, tag, digest }`, or for several images `<key>: { image: {…} }`. */
  values: Record<string, unknown>;
  /** True where nothing had to be done. */
  cached: boolean;
}

/** One image that a service's kws.yaml asks for. */
interface WantedImage {
  /** Of the chart's values; undefined for the only one. */
  key: string | undefined;
  build: Build;
  /** Where `build` stands in kws.yaml. */
  keys: string[];
  /** Without a tag. */
  name: string;
}

function wantedImages({ name, config }: ProjectService, workspace: string): WantedImage[] {
  const { build, images = {} } = config;
  if (build !== undefined) return [{ key: undefined, build, keys: ["build"], name: `${workspace}/${name}` }];
  return Object.entries(images).map(([key, one]) => ({
    key,
    build: one,
    keys: ["images", key],
    name: `${workspace}/${name}-${key}`,
  }));
}

export async function buildImages(
  service: ProjectService,
  provider: Provider,
  workspace: string,
  options: BuildOptions,
): Promise<ServiceImages> {
  const result: ServiceImages = { images: [], values: {}, cached: true };
  for (const wanted of wantedImages(service, workspace)) {
    const { image, cached } = await buildOne(service, wanted, provider, options);
    const values = { image: toValues(image) };
    result.images.push(image);
    Object.assign(result.values, wanted.key === undefined ? values : { [wanted.key]: values });
    result.cached &&= cached;
  }
  return result;
}

/** What `buildImages` will tell the chart, with an image that does not exist. */
export function placeholderValues({ config }: ProjectService): Record<string, unknown> {
  const image = {
    repository: `${localRegistry}/unbuilt`,
    tag: "unbuilt",
    digest: `sha256:${"0".repeat(64)}`,
  };
  if (config.build !== undefined) return { image };
  return Object.fromEntries(Object.keys(config.images ?? {}).map((key) => [key, { image }]));
}

/** A digest wins over a tag, so one that the nodes do not know is left out. */
function toValues({ repository, tag, digest, byTag }: BuiltImage): Record<string, string> {
  return { repository, tag, digest: byTag === true ? "" : digest };
}

async function buildOne(
  service: ProjectService,
  wanted: WantedImage,
  provider: Provider,
  options: BuildOptions,
): Promise<{ image: BuiltImage; cached: boolean }> {
  const { build } = wanted;
  const image = await resolveBuild(service, wanted);
  const tagged = options.tag === undefined ? image : { ...image, tag: options.tag };
  const command = build.prepare;
  if (command === undefined) {
    const built = await provider.buildImage(tagged, options);
    return { image: built, cached: built.cached };
  }
  return aloneIn(service, options, async () => {
    const prepared = await prepare(service, command, options);
    const built = await provider.buildImage(tagged, options);
    return { image: built, cached: built.cached && !prepared };
  });
}

/** The build with its paths found and checked: they exist, and do not lead out of what it may read. */
async function resolveBuild(
  service: ProjectService,
  { build, keys, name }: WantedImage,
): Promise<ImageBuild> {
  const missing = (at: string, path: string, fix: string) =>
    new UserError(`${service.name} cannot be built: ${path} does not exist`, { code: "config", at, fix });
  const at = (key: string) => service.file.at([...keys, key]);
  const context = await inside(service.root, resolve(service.dir, build.context ?? "."), at("context"));
  if (!existsSync(context)) throw missing(at("context"), context, "Correct the path.");
  const dockerfile = await inside(
    service.root,
    resolve(service.dir, build.dockerfile ?? "Dockerfile"),
    at("dockerfile"),
  );
  if ((build.builder === "dockerfile" || build.dockerfile !== undefined) && !existsSync(dockerfile)) {
    throw missing(at("dockerfile"), dockerfile, "Add the Dockerfile, or correct its path.");
  }
  const builder = build.builder ?? (existsSync(dockerfile) ? "dockerfile" : "node");
  const manifest = join(context, "package.json");
  if (builder === "node" && !existsSync(manifest)) {
    const fix = "Add a Dockerfile, or a package.json for the builder `node`.";
    throw missing(service.file.at(keys), manifest, fix);
  }
  const { args = {}, target } = build;
  return { builder, name, context, dockerfile, args, ...(target === undefined ? {} : { target }) };
}

/** Says before anything is built what would fail later: files that are missing, paths that lead out, faults in Dockerfiles. */
export async function checkBuilds(
  service: ProjectService,
  provider: Provider,
  workspace: string,
  signal?: AbortSignal,
): Promise<void> {
  const wanted = wantedImages(service, workspace);
  const incomplete = wanted.some(({ build }) => build.prepare !== undefined);
  const context = { incomplete, ...(signal === undefined ? {} : { signal }) };
  await Promise.all(
    wanted.map(async (one) => provider.checkBuild(await resolveBuild(service, one), context)),
  );
}
