/** A service's images: prepared and built by the provider, and told to the chart as values. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { BuiltImage, Provider } from "../providers/provider.ts";
import type { Build } from "../project/schema.ts";
import { inside, type ProjectService } from "../project/workspace.ts";
import { prepare, type PrepareOptions } from "./prepare.ts";

export interface BuildOptions extends PrepareOptions {
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

export async function buildImages(
  service: ProjectService,
  provider: Provider,
  workspace: string,
  options: BuildOptions,
): Promise<ServiceImages> {
  const { build, images = {} } = service.config;
  if (build !== undefined) {
    const { image, cached } = await buildOne(
      service,
      build,
      ["build"],
      `${workspace}/${service.name}`,
      provider,
      options,
    );
    return { images: [image], values: { image: toValues(image) }, cached };
  }
  const result: ServiceImages = { images: [], values: {}, cached: true };
  for (const [key, one] of Object.entries(images)) {
    const name = `${workspace}/${service.name}-${key}`;
    const { image, cached } = await buildOne(service, one, ["images", key], name, provider, options);
    result.images.push(image);
    result.values[key] = { image: toValues(image) };
    result.cached &&= cached;
  }
  return result;
}

/** What `buildImages` will tell the chart, with an image that does not exist. */
export function placeholderValues({ config }: ProjectService): Record<string, unknown> {
  const image = { repository: "example", tag: "unbuilt", digest: `sha256:${"0".repeat(64)}` };
  if (config.build !== undefined) return { image };
  return Object.fromEntries(Object.keys(config.images ?? {}).map((key) => [key, { image }]));
}

function toValues({ repository, tag, digest }: BuiltImage): Record<string, string> {
  return { repository, tag, digest };
}

async function buildOne(
  service: ProjectService,
  build: Build,
  keys: string[],
  name: string,
  provider: Provider,
  options: BuildOptions,
): Promise<{ image: BuiltImage; cached: boolean }> {
  const at = (key: string) => service.file.at([...keys, key]);
  const context = await inside(service.dir, build.context ?? ".", at("context"));
  const dockerfile = await inside(service.dir, build.dockerfile ?? "Dockerfile", at("dockerfile"));
  const builder = build.builder ?? (existsSync(dockerfile) ? "dockerfile" : "node");
  const needed = builder === "dockerfile" ? dockerfile : join(context, "package.json");
  if (!existsSync(needed)) {
    throw new UserError(`${service.name} cannot be built: ${needed} does not exist`, {
      code: "config",
      at: service.file.at(keys),
      fix: "Add a Dockerfile, or a package.json for the builder `node`.",
    });
  }
  const prepared = build.prepare === undefined ? false : await prepare(service, build.prepare, options);
  const image = await provider.buildImage(
    {
      builder,
      name,
      context,
      dockerfile,
      args: build.args ?? {},
      ...(build.target === undefined ? {} : { target: build.target }),
      ...(options.tag === undefined ? {} : { tag: options.tag }),
    },
    options,
  );
  return { image, cached: image.cached && !prepared };
}

/** Says before anything is built what would fail later: files that are missing, paths that lead out. */
export async function checkBuilds(service: ProjectService): Promise<void> {
  const { build, images = {} } = service.config;
  const all: [string[], Build][] = Object.entries(images).map(([key, one]) => [["images", key], one]);
  if (build !== undefined) all.push([["build"], build]);
  for (const [keys, one] of all) {
    const at = (key: string) => service.file.at([...keys, key]);
    const context = await inside(service.dir, one.context ?? ".", at("context"));
    if (!existsSync(context)) {
      throw new UserError(`${service.name} cannot be built: ${context} does not exist`, {
        code: "config",
        at: at("context"),
        fix: "Correct the path.",
      });
    }
    const dockerfile = await inside(service.dir, one.dockerfile ?? "Dockerfile", at("dockerfile"));
    if ((one.builder === "dockerfile" || one.dockerfile !== undefined) && !existsSync(dockerfile)) {
      throw new UserError(`${service.name} cannot be built: ${dockerfile} does not exist`, {
        code: "config",
        at: at("dockerfile"),
        fix: "Add the Dockerfile, or correct its path.",
      });
    }
  }
}
