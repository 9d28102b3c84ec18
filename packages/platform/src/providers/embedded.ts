/** The cluster that kws brings along. The only file of the platform that knows that it exists. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import type { ClusterInfo } from "@kws/cluster/lifecycle";
import {
  type BuildContext,
  type BuiltImage,
  type ImageBuild,
  localRegistry,
  type Provider,
  type ProviderStatus,
} from "./provider.ts";

export interface EmbeddedOptions {
  /** The cluster's name. */
  name: string;
  /** The data root that all of the user's clusters share. */
  home: string;
  env: NodeJS.ProcessEnv;
  /** Where Ingress hosts are served unless a start says otherwise. */
  ingressPort?: number;
}

export const defaultClusterName = "default";

export function embeddedProvider(options: EmbeddedOptions): Provider {
  return {
    name: "embedded",
    async start({ signal, ingressPort }) {
      await makeHome(options.home);
      const { startCluster } = await import("@kws/cluster/lifecycle");
      const info = await startCluster({
        ...options,
        ...(signal === undefined ? {} : { signal }),
        ...(ingressPort === undefined ? {} : { ingressPort }),
      });
      return toStatus(info);
    },
    async stop() {
      const { stopCluster } = await import("@kws/cluster/lifecycle");
      return stopCluster(options);
    },
    async status() {
      const info = await find(options);
      return info === undefined
        ? { provider: "embedded", name: options.name, state: "stopped" }
        : toStatus(info);
    },
    async kubeconfig() {
      const info = await find(options);
      if (info?.state !== "running") {
        throw new UserError(`the cluster "${options.name}" does not run`, {
          code: "tool-missing",
          fix: "Start it with `kws cluster start`.",
        });
      }
      return { path: info.kubeconfigPath };
    },
    checkBuild: (build, context) => checkBuild(options.home, build, context),
    buildImage: (build, context) => buildImage(options.home, build, context),
    async imageRepository(name) {
      const { openLayout } = await import("@kws/oci/layout");
      return (await openLayout(join(options.home, "images"))).repository(name);
    },
  };
}

async function makeHome(home: string): Promise<void> {
  try {
    await mkdir(home, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "EEXIST")) throw error;
    throw new UserError(`the folder ${home} cannot be made: ${messageOf(error)}`, {
      code: "config",
      fix: "Set KWS_HOME to a folder that can.",
    });
  }
}

/** Removes the cluster with all its data; true when there was one. */
export async function resetEmbedded(options: Omit<EmbeddedOptions, "env">): Promise<boolean> {
  const { resetCluster } = await import("@kws/cluster/lifecycle");
  return resetCluster(options);
}

/** Removes the images, which all clusters share, once there is no cluster left; true when they are gone. */
export async function removeUnusedImages(home: string): Promise<boolean> {
  const [{ anyCluster }, { removeTree }] = await Promise.all([
    import("@kws/cluster/lifecycle"),
    import("@kws/cluster/images/unpack"),
  ]);
  if (await anyCluster(home)) return false;
  await removeTree(join(home, "images"));
  return true;
}

/** An image that all of the user's embedded clusters can run. */
export interface LocalImage {
  references: string[];
  /** `sha256:…`. */
  digest: string;
  /** Bytes of its layers. */
  size: number;
}

export async function listImages(home: string): Promise<LocalImage[]> {
  return (await imageStore(home)).list();
}

/** Reads an archive that `docker save`, `podman save` or an OCI tool wrote; answers the image under its first name. */
export async function importImage(home: string, archive: string, name?: string): Promise<LocalImage> {
  const store = await imageStore(home);
  const { digest } = await store.import(archive, name === undefined ? {} : { references: [name] });
  const image = (await store.list()).find((candidate) => candidate.digest === digest);
  return image ?? { references: [], digest, size: 0 };
}

/** Forgets a name; false where there is no image of that name. */
export async function removeImage(home: string, name: string): Promise<boolean> {
  const store = await imageStore(home);
  if ((await store.inspect(name)) === undefined) return false;
  await store.remove(name);
  return true;
}

async function imageStore(home: string) {
  const { openImageStore } = await import("@kws/cluster/images/store");
  return openImageStore(join(home, "images"));
}

/** All of the user's embedded clusters. */
export async function listEmbedded(home: string): Promise<ProviderStatus[]> {
  const { listClusters } = await import("@kws/cluster/lifecycle");
  return (await listClusters(home)).map(toStatus);
}

async function find(options: Omit<EmbeddedOptions, "env">): Promise<ClusterInfo | undefined> {
  const { clusterStatus } = await import("@kws/cluster/lifecycle");
  return clusterStatus(options);
}

function toStatus(info: ClusterInfo): ProviderStatus {
  return { provider: "embedded", ...info };
}

async function checkBuild(
  home: string,
  build: ImageBuild,
  { incomplete }: { incomplete: boolean },
): Promise<void> {
  if (build.builder === "node") return;
  const [store, { checkDockerfile }] = await Promise.all([
    imageStore(home),
    import("@kws/cluster/images/build"),
  ]);
  await checkDockerfile({ store, incomplete, ...dockerfileOf(build) });
}

function dockerfileOf({ context, dockerfile, args, target }: ImageBuild) {
  return { context, dockerfile, buildArgs: args, ...(target === undefined ? {} : { target }) };
}

async function buildImage(home: string, build: ImageBuild, context: BuildContext): Promise<BuiltImage> {
  const [store, { buildDockerfile, buildNode }] = await Promise.all([
    imageStore(home),
    import("@kws/cluster/images/build"),
  ]);
  const repository = `${localRegistry}/${build.name}`;
  const tag = build.tag ?? "dev";
  const common = { store, tags: [`${repository}:${tag}`], ...context };
  const result =
    build.builder === "node"
      ? await buildNode({ ...common, dir: build.context })
      : await buildDockerfile({ ...common, ...dockerfileOf(build) });
  return { repository, tag, digest: result.digest, cached: result.cached };
}
