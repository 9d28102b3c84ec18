/**
 * Builds Dockerfiles with Docker Engine or buildah, for machines whose own sandbox cannot: those without Linux. The image goes
 * from the engine into the image store of kws, and from there wherever an image goes that the embedded builder made.
 */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { parseDocument, readManifest } from "@kws/oci/manifest";
import type { Repository } from "@kws/oci/repository";
import { toolRunner } from "./cluster-tool.ts";
import { importImage } from "./embedded.ts";
import { type Builder, type ImageBuild, localRegistry } from "./provider.ts";

export interface EngineBuilderOptions {
  engine: "docker" | "buildah";
  /** The data root of kws. */
  home: string;
  env: NodeJS.ProcessEnv;
  /** Where the images are stored. */
  imageRepository: (name: string) => Promise<Repository>;
}

/** What the engines differ in; all take the same options of `build`. */
const engines = {
  docker: {
    install: "Install Docker (https://docs.docker.com/get-started/get-docker/).",
    build: ["build"],
    id: (name: string) => ["image", "inspect", "--format", "{{.Id}}", name],
    save: (name: string, file: string) => ["image", "save", "--output", file, name],
  },
  buildah: {
    install: "Install buildah (https://github.com/containers/buildah/blob/main/install.md).",
    build: ["build", "--layers"],
    id: (name: string) => ["images", "--quiet", "--no-trunc", name],
    save: (name: string, file: string) => ["push", name, `oci-archive:${file}:${name}`],
  },
} as const;

const buildTimeoutMs = 60 * 60_000;

export function engineBuilder({ engine, home, env, imageRepository }: EngineBuilderOptions): Builder {
  const commands = engines[engine];
  const { run } = toolRunner(engine, commands.install, { env });
  return {
    imageRepository,
    async checkBuild(build) {
      if (build.builder === "dockerfile") return;
      throw new UserError(`the image ${build.name} has no Dockerfile, and ${engine} needs one`, {
        code: "config",
        fix: `Write ${join(build.context, "Dockerfile")}; the builder \`node\` needs Linux.`,
      });
    },
    async buildImage(build, { signal, onProgress, pull }) {
      const repository = `${localRegistry}/${build.name}`;
      const tag = build.tag ?? "dev";
      const name = `${repository}:${tag}`;
      const words = [
        ...commands.build,
        ...(pull === true ? ["--pull"] : []),
        ...optionsOf(build),
        "--tag",
        name,
      ];
      const common = signal === undefined ? {} : { signal };
      await run([...words, build.context], {
        ...common,
        // An argument without a value takes it from here, where no other user of the machine sees it.
        env: { ...env, ...build.args },
        timeoutMs: buildTimeoutMs,
        ...(onProgress === undefined ? {} : { onLine: onProgress }),
      });
      const stored = await imageRepository(repository);
      const id = (await run(commands.id(name), common)).trim();
      const present = await storedDigest(stored, tag, id);
      if (present !== undefined) return { repository, tag, digest: present, cached: true };
      await using folder = await tempDir("kws-image");
      const archive = join(folder.path, "image.tar");
      await run(commands.save(name, archive), { ...common, timeoutMs: buildTimeoutMs });
      const { digest } = await importImage(home, archive, name);
      return { repository, tag, digest, cached: false };
    },
  };
}

function optionsOf({ dockerfile, args, target }: ImageBuild): string[] {
  return [
    "--file",
    dockerfile,
    ...Object.keys(args).flatMap((name) => ["--build-arg", name]),
    ...(target === undefined ? [] : ["--target", target]),
  ];
}

/** Of the stored image, where it is the engine's: that calls an image by its configuration, or by its manifest. */
async function storedDigest(repository: Repository, tag: string, id: string): Promise<string | undefined> {
  const found = await repository.resolve(tag);
  if (found === undefined) return undefined;
  const { bytes } = await repository.manifest(found.digest);
  const { config } = readManifest(parseDocument(bytes, found.digest), found.digest);
  return id === config.digest || id === found.digest ? found.digest : undefined;
}
