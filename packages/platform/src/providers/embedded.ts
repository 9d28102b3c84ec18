/** The cluster that kws brings along. The only file of the platform that knows that it exists. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import type { Puller } from "@kws/cluster/images/pull";
import type { LocalImageStore } from "@kws/cluster/images/store";
import type { ClusterInfo } from "@kws/cluster/lifecycle";
import type { RuntimeName } from "../project/provider-names.ts";
import {
  type BuildContext,
  type Builder,
  type BuildImageContext,
  type BuiltImage,
  type ImageBuild,
  localRegistry,
  type Provider,
  type ProviderStatus,
} from "./provider.ts";
import type { Snapshot } from "./snapshots.ts";

export interface EmbeddedOptions {
  /** The cluster's name. */
  name: string;
  /** The data root that all of the user's clusters share. */
  home: string;
  env: NodeJS.ProcessEnv;
  /** Where Ingress hosts are served unless a start says otherwise. */
  ingressPort?: number;
  /** What runs the containers unless a start says otherwise. */
  runtime?: RuntimeName;
}

export const defaultClusterName = "default";

const usualRuntime: RuntimeName = process.platform === "linux" ? "sandbox" : "docker";

/** Builds in the sandbox, and keeps images where all embedded clusters find them. */
export function embeddedBuilder({ home, env }: Pick<EmbeddedOptions, "home" | "env">): Builder {
  let opened: Promise<Images> | undefined;
  /** One for all services, so that what several of them are built on is asked for once. */
  const images = () => (opened ??= openImages(home, env));
  return {
    checkBuild: async (build, context) => checkBuild(await images(), build, context),
    buildImage: async (build, context) => buildImage(await images(), build, context),
    async imageRepository(name) {
      const { openLayout } = await import("@kws/oci/layout");
      return (await openLayout(join(home, "images"))).repository(name);
    },
  };
}

export function embeddedProvider(options: EmbeddedOptions): Provider {
  return {
    name: "embedded",
    // The base image that the cluster makes of the machine's own Node.
    shellImage: `${localRegistry}/node:${process.versions.node.split(".")[0]}`,
    sharesFiles: true,
    buildsAlone: true,
    nodeImage: `${localRegistry}/node:${process.versions.node.split(".")[0]}`,
    ...embeddedBuilder(options),
    async start({ signal, ingressPort, runtime }) {
      await makeFolder(options.home, {
        mode: 0o700,
        fix: "Set KWS_HOME to a folder that can be made.",
      });
      const { startCluster } = await import("@kws/cluster/lifecycle");
      const info = await startCluster({
        ...options,
        ...(signal === undefined ? {} : { signal }),
        ...(ingressPort === undefined ? {} : { ingressPort }),
        ...(runtime === undefined ? {} : { runtime }),
      });
      return toStatus(info);
    },
    async stop() {
      const { stopCluster } = await import("@kws/cluster/lifecycle");
      return stopCluster(options);
    },
    async reset() {
      const { resetCluster } = await import("@kws/cluster/lifecycle");
      return resetCluster(options);
    },
    async status() {
      const info = await find(options);
      return info === undefined
        ? {
            provider: "embedded",
            name: options.name,
            managed: true,
            state: "stopped",
            runtime: options.runtime ?? usualRuntime,
          }
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
    snapshots: () => ({
      async take({ name: snapshot, ...take }) {
        const { takeSnapshot } = await import("@kws/cluster/snapshots/snapshots");
        return takeSnapshot({ ...options, ...take, snapshot });
      },
      async restore(restore) {
        const { restoreCluster } = await import("@kws/cluster/snapshots/snapshots");
        const { snapshot, cluster, renamedImages } = await restoreCluster({ ...options, ...restore });
        return { snapshot, cluster: toStatus(cluster), renamedImages };
      },
    }),
  };
}

/** Of all embedded clusters, the newest first. */
export async function listSnapshots(home: string): Promise<Snapshot[]> {
  const { listSnapshots: list } = await import("@kws/cluster/snapshots/folder");
  return list(home);
}

/** False where there is none of that name. */
export async function removeSnapshot(home: string, name: string): Promise<boolean> {
  const { removeSnapshot: remove } = await import("@kws/cluster/snapshots/folder");
  return remove(home, name);
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
  return listed(store, digest);
}

async function listed(store: LocalImageStore, digest: string): Promise<LocalImage> {
  const image = (await store.list()).find((candidate) => candidate.digest === digest);
  return image ?? { references: [], digest, size: 0 };
}

/** Takes an image from its registry: only what is not here yet. */
export async function pullImage(
  { home, env }: Pick<EmbeddedOptions, "home" | "env">,
  reference: string,
  { signal, onProgress }: BuildContext,
): Promise<LocalImage> {
  const [{ store, puller }, { pullLine }] = await Promise.all([
    openImages(home, env),
    import("@kws/cluster/images/build"),
  ]);
  const { digest } = await puller.pull(reference, {
    ...(signal === undefined ? {} : { signal }),
    onProgress: (bytes, total) => onProgress?.(pullLine(reference, bytes, total)),
  });
  return listed(store, digest);
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

interface Images {
  store: LocalImageStore;
  puller: Puller;
}

async function openImages(home: string, env: NodeJS.ProcessEnv): Promise<Images> {
  const [store, { createPuller }] = await Promise.all([imageStore(home), import("@kws/cluster/images/pull")]);
  return { store, puller: createPuller(store, env) };
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
  return { provider: "embedded", managed: true, ...info };
}

async function checkBuild(
  images: Images,
  build: ImageBuild,
  context: { incomplete: boolean; signal?: AbortSignal },
): Promise<void> {
  if (build.builder === "node") return;
  const { checkDockerfile } = await import("@kws/cluster/images/build");
  await checkDockerfile({ ...images, ...context, ...dockerfileOf(build) });
}

function dockerfileOf({ context, dockerfile, args, target }: ImageBuild) {
  return { context, dockerfile, buildArgs: args, ...(target === undefined ? {} : { target }) };
}

async function buildImage(
  images: Images,
  build: ImageBuild,
  context: BuildImageContext,
): Promise<BuiltImage> {
  const { buildDockerfile, buildNode } = await import("@kws/cluster/images/build");
  const repository = `${localRegistry}/${build.name}`;
  const tag = build.tag ?? "dev";
  const common = { ...images, tags: [`${repository}:${tag}`], ...context };
  const result =
    build.builder === "node"
      ? await buildNode({ ...common, dir: build.context })
      : await buildDockerfile({ ...common, ...dockerfileOf(build) });
  return { repository, tag, digest: result.digest, cached: result.cached };
}

/** What this machine lacks to run the embedded cluster's containers: the sandbox is really tried, the engine asked. */
export async function runtimeProblem(
  name: RuntimeName,
  env: NodeJS.ProcessEnv,
): Promise<UserError | undefined> {
  const { chooseRuntime, runtimeProblem: problemOf } = await import("@kws/cluster/kubelet/runtimes/choice");
  try {
    return await problemOf(await chooseRuntime(name, env));
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

/** Where a cluster's own process writes what happens to it. */
export async function clusterLogPath(home: string, name: string): Promise<string> {
  const { clusterFolder } = await import("@kws/cluster/lifecycle");
  return join(clusterFolder({ name, home }), "daemon.log");
}
