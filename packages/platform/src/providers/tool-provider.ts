/**
 * A provider out of a tool's own commands. What tools differ in stands in their files; here is what they have in common: which
 * clusters are kws's own, that a cluster is used only once its API server answers, that one which no longer answers is
 * restarted, and that images reach its nodes.
 */
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { sleep } from "@kws/base/retry";
import { accessOf, type ClusterAccess, readKubeconfig } from "@kws/kube/kubeconfig";
import { sha256 } from "@kws/oci/descriptor";
import type { Repository } from "@kws/oci/repository";
import type { ToolName } from "../project/provider-names.ts";
import type { ClusterTool, ToolCluster, ToolOptions } from "./cluster-tool.ts";
import { freePort, tryPort } from "./free-port.ts";
import { loadImage, type NodeStore } from "./node-store.ts";
import type { BuildImageContext, Builder, BuiltImage, Provider, ProviderStatus } from "./provider.ts";
import { serverVersion } from "./server-version.ts";
import { noSnapshots } from "./snapshots.ts";

export interface ToolProviderOptions {
  /** The cluster's name. */
  name: string;
  /** Whoever chose the name meant a cluster that may exist already. */
  named: boolean;
  /** Of this cluster alone; made where it is missing, and removed with the cluster. */
  folder: string;
  builder: Builder;
  env: NodeJS.ProcessEnv;
  /** Where Ingress hosts are served unless a start says otherwise. */
  ingressPort?: number;
  /** For an API server to answer after a start; two minutes unless given. */
  readyTimeoutMs?: number;
  /** For one to answer that should run, before the cluster is restarted; 15 seconds unless given. */
  patienceMs?: number;
}

/** What kws remembers of a cluster that it made. */
interface ClusterRecord {
  ingressPort?: number;
  /**
   * The digest of its certificate authority, which no other cluster has: somebody may have removed this one with the tool, and
   * made another of the same name.
   */
  authority?: string;
}

const defaultIngressPort = 8080;
const recordFile = "cluster.json";

/** Where kws keeps what it knows of a tool's cluster. */
export function toolFolder(data: string, tool: ToolName, cluster: string): string {
  if (/^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/.test(cluster)) return join(data, "providers", tool, cluster);
  throw new UserError(`"${cluster}" cannot be the name of a cluster`, {
    code: "usage",
    fix: "Use up to 63 letters, digits and hyphens.",
  });
}

export async function madeByKws(folder: string): Promise<boolean> {
  return (await readRecord(folder)) !== undefined;
}

export function toolProvider(tool: ClusterTool, options: ToolProviderOptions): Provider {
  const { name, folder, builder, env } = options;
  const find = async (): Promise<ToolCluster | undefined> =>
    (await tool.list()).find((cluster) => cluster.name === name);

  const statusOf = async (found: ToolCluster | undefined): Promise<ProviderStatus> => {
    const record = await readRecord(folder);
    const managed = record !== undefined && found !== undefined;
    const port = record?.ingressPort === undefined ? {} : { ingressPort: record.ingressPort };
    const known = { provider: tool.name, name, managed, ...port };
    if (found === undefined || found.state === "stopped") return { ...known, state: "stopped" };
    try {
      const { path, context } = await tool.kubeconfig(name);
      const access = await accessOf(await readKubeconfig([path]), context);
      const foreign = record?.authority !== undefined && record.authority !== authorityOf(access);
      const reached = {
        ...(foreign ? { provider: tool.name, name, managed: false } : known),
        apiUrl: access.server,
        kubeconfigPath: path,
        ...(context === undefined ? {} : { context }),
      };
      const version = await serverVersion(access);
      if (version !== undefined) return { ...reached, state: "running", version };
      return { ...reached, state: "unreachable", problem: "the API server does not answer" };
    } catch (error) {
      // A node that does not work hands out no kubeconfig. Other errors are no reason to restart it.
      if (!(error instanceof UserError) || !["failed", "timeout"].includes(error.code)) throw error;
      return { ...known, state: "unreachable", problem: error.message };
    }
  };
  const status = async () => statusOf(await find());

  /** Another one of the default name may be anybody's. */
  const refuseForeign = ({ managed }: ProviderStatus) => {
    if (options.named || tool.only !== undefined || managed) return;
    throw new UserError(`there is a ${tool.name} cluster "${name}" that kws did not make`, {
      code: "conflict",
      fix: `To use it all the same, name it: --cluster ${name}. Or choose another name with \`cluster.name\` in kws.yaml.`,
    });
  };

  /** The status once it runs, or what it was when the time was over. */
  const within = async (ms: number, signal: AbortSignal | undefined): Promise<ProviderStatus> => {
    const deadline = performance.now() + ms;
    for (;;) {
      const now = await status();
      if (now.state === "running" || performance.now() > deadline) return now;
      await sleep(500, signal);
    }
  };

  const ready = async (signal: AbortSignal | undefined): Promise<ProviderStatus> => {
    const now = await within(options.readyTimeoutMs ?? 120_000, signal);
    if (now.state === "running") return now;
    throw new UserError(
      `the ${tool.name} cluster ${name} was started and does not answer: ${now.problem ?? now.state}`,
      { code: "timeout", fix: remade(tool, name) },
    );
  };

  const create = async (asked: number | undefined, how: ToolOptions): Promise<ProviderStatus> => {
    if (tool.create === undefined) throw new UserError(`${tool.name} has no cluster`, { code: "not-found" });
    const ingressPort = await choosePort(asked, options.ingressPort);
    const record: ClusterRecord = tool.servesIngress === true ? { ingressPort } : {};
    // Before, so that one which is interrupted is known as kws's own.
    await writeRecord(folder, record);
    try {
      await tool.create(name, { ...how, ingressPort });
    } catch (error) {
      if ((await find()) === undefined) await rm(folder, { recursive: true, force: true });
      throw error;
    }
    const made = await ready(how.signal);
    const { path, context } = await tool.kubeconfig(name);
    const access = await accessOf(await readKubeconfig([path]), context);
    await writeRecord(folder, { ...record, authority: authorityOf(access) });
    const moved = ingressPort !== (asked ?? options.ingressPort ?? defaultIngressPort);
    return moved && tool.servesIngress === true ? { ...made, ingressPortMoved: true } : made;
  };

  const nodes = nodeStores(tool, name);
  const oneAtATime = limiter(1);
  /** Sends an image to the nodes that lack it; false where all of them had it. */
  const load = (repository: Repository, tag: string, digest: string, context: BuildImageContext) =>
    // One after the other, so that layers in common travel once.
    oneAtATime(async () => {
      let changed = false;
      for (const store of await nodes()) {
        const { signal, onProgress } = context;
        const loaded = await loadImage(
          store,
          { repository, tag, digest },
          { env, ...(signal === undefined ? {} : { signal }) },
        );
        if (loaded === undefined) continue;
        changed = true;
        onProgress?.(`${store.node}: ${megabytes(loaded.sent)} of ${megabytes(loaded.total)} sent`);
      }
      return changed;
    });

  return {
    name: tool.name,
    status,
    async start({ signal, onProgress, ingressPort }) {
      const how = {
        ...(signal === undefined ? {} : { signal }),
        ...(onProgress === undefined ? {} : { onLine: onProgress }),
      };
      const found = await find();
      if (found === undefined) return create(ingressPort, how);
      const seen = await statusOf(found);
      refuseForeign(seen);
      // After sleep it may be about to answer.
      const patience = options.patienceMs ?? 15_000;
      const before = seen.state === "unreachable" ? await within(patience, signal) : seen;
      if (before.state === "running") return before;
      try {
        if (before.state === "unreachable") {
          onProgress?.(`${before.problem ?? "it does not answer"}; it is restarted`);
          await tool.stop(name);
        }
        await tool.start(name, how);
      } catch (error) {
        if (!(error instanceof UserError) || error.fix !== undefined) throw error;
        throw new UserError(error.message, { code: error.code, cause: error, fix: remade(tool, name) });
      }
      return ready(signal);
    },
    async stop() {
      const found = await find();
      if (found === undefined) return false;
      refuseForeign(await statusOf(found));
      if (found.state === "stopped") return false;
      await tool.stop(name);
      return true;
    },
    async reset({ foreign }) {
      const found = await find();
      if (found !== undefined) {
        if (!foreign && !(await statusOf(found)).managed) {
          throw new UserError(`kws did not make the ${tool.name} cluster ${name}`, {
            code: "permission",
            fix: `To remove it all the same, name it: \`kws cluster reset ${name} --provider ${tool.name}\`.`,
          });
        }
        await tool.remove(name);
      }
      await rm(folder, { recursive: true, force: true });
      return found !== undefined;
    },
    async kubeconfig() {
      const found = await find();
      if (found === undefined || found.state === "stopped") {
        throw new UserError(`the ${tool.name} cluster "${name}" does not run`, {
          code: "tool-missing",
          fix: "Start it with `kws cluster start`.",
        });
      }
      return tool.kubeconfig(name);
    },
    snapshots: () =>
      noSnapshots(tool.name, tool.noSnapshots ?? "the tool has no command that copies a node's data"),
    checkBuild: (build, context) => builder.checkBuild(build, context),
    async buildImage(build, context) {
      const image = await builder.buildImage(build, context);
      const repository = await builder.imageRepository(image.repository);
      const stores = await nodes();
      const known = stores.some((store) => store.kind === "docker") ? byContent(image) : image;
      const changed = await load(repository, known.tag, image.digest, context);
      return { ...known, cached: image.cached && !changed };
    },
    async imageRepository(wanted) {
      const repository = await builder.imageRepository(wanted);
      return {
        ...repository,
        async pushManifest(bytes, mediaType, push = {}) {
          if ((await nodes()).some((store) => store.kind === "docker")) throw byTagAlone(wanted);
          const descriptor = await repository.pushManifest(bytes, mediaType, push);
          const { signal, tag = "dev" } = push;
          await load(repository, tag, descriptor.digest, signal === undefined ? {} : { signal });
          return descriptor;
        },
        /** What is on this machine may not be on the nodes yet; a push finds out. */
        resolve: async () => undefined,
      };
    },
  };
}

function byTagAlone(name: string): UserError {
  return new UserError(
    `the image ${name} is wanted by its digest, and Docker Engine finds images of this machine by tags alone`,
    {
      code: "config",
      fix: "Set `registry` in kws.yaml, run `kws publish`, and deploy what is published.",
    },
  );
}

/** Docker Engine knows a loaded image by its tag alone, so that has to say what it holds. */
function byContent(image: BuiltImage): BuiltImage {
  return {
    ...image,
    tag: `${image.tag}-${image.digest.slice("sha256:".length, "sha256:".length + 12)}`,
    byTag: true,
  };
}

function nodeStores(tool: ClusterTool, name: string): () => Promise<NodeStore[]> {
  let asked: Promise<NodeStore[]> | undefined;
  return () => (asked ??= tool.nodes(name));
}

async function choosePort(asked: number | undefined, setting: number | undefined): Promise<number> {
  if (asked === undefined) return freePort(setting ?? defaultIngressPort);
  if ((await tryPort(asked)) !== undefined) return asked;
  throw new UserError(`port ${asked} of this machine is taken`, {
    code: "conflict",
    fix: "Give another one with --ingress-port, or leave it out to get a free one.",
  });
}

async function readRecord(folder: string): Promise<ClusterRecord | undefined> {
  const path = join(folder, recordFile);
  try {
    return JSON.parse(await readFile(path, "utf8")) as ClusterRecord;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw new UserError(`${path} cannot be read: ${messageOf(error)}`, {
      code: "config",
      fix: `Remove ${folder}; kws then no longer takes the cluster for its own.`,
      cause: error,
    });
  }
}

async function writeRecord(folder: string, record: ClusterRecord): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await replaceFile(join(folder, recordFile), JSON.stringify(record));
}

function authorityOf({ ca = "" }: ClusterAccess): string {
  return sha256(ca);
}

function remade(tool: ClusterTool, name: string): string {
  const named = tool.only === undefined ? `${name} ` : "";
  return `Make it anew: \`kws cluster reset ${named}--provider ${tool.name}\`, which loses its data, then \`kws cluster start\`.`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
