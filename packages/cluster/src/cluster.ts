/** Joins the parts of a cluster in this process; nothing else knows more than one of them. */
import { messageOf, UserError } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import { SharedInformers } from "@kws/kube/informer";
import { startApiServer, type ApiServer, type ApiServerOptions } from "./apiserver/server.ts";
import { startControllers } from "./controllers/index.ts";
import { baseImageReference, ensureBaseImage } from "./images/base-image.ts";
import type { ImageStore } from "./images/image.ts";
import { createPuller } from "./images/pull.ts";
import { openImageStore, type LocalImageStore } from "./images/store.ts";
import { resolveUser } from "./images/users.ts";
import { startKubelet } from "./kubelet/index.ts";
import { startRuntime, type ChosenRuntime } from "./kubelet/runtimes/choice.ts";
import type { NodeStreams } from "./kubelet/streams.ts";
import { ownCertificate } from "./network/certificates.ts";
import { startNetwork } from "./network/controller.ts";
import type { IngressMetrics } from "./network/ingress-metrics.ts";
import { addresses } from "./network/state.ts";
import { startScheduler } from "./scheduler/index.ts";
import { capture, type Captured } from "./snapshots/capture.ts";
import { prepareSocket } from "./sockets.ts";
import { Standstill } from "./standstill.ts";
import { apiServerFolder, apiServerSocket, networkFolder, runtimeFolder, volumesFolder } from "./state.ts";

export interface ClusterOptions {
  name: string;
  /** All that this cluster keeps. */
  folder: string;
  runtime: ChosenRuntime;
  /** The image store, shared with other clusters. */
  imagesFolder: string;
  /** Preferred ports on 127.0.0.1. */
  apiPort?: number;
  ingressPort: number;
  /** Where Ingress hosts were served last: taken before any other where the preferred one is not free. */
  previousIngressPort?: number;
  /** The Node that the base image is made of; the version without a `v`. */
  node: { path: string; version: string };
  /** Where registries' credentials, proxies and the like are found; see `registryVariables`. */
  env: NodeJS.ProcessEnv;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
}

export interface Cluster {
  apiPort: number;
  ingressPort: number;
  kubeconfig: string;
  /** Resolves when the part that holds the containers has ended, which the rest cannot do without. */
  agentGone: Promise<void>;
  /** Fills a folder that does not exist yet with the cluster's objects and data, while its containers stand still. */
  snapshot(target: string, signal: AbortSignal): Promise<Captured>;
  /**
   * Ends containers and everything else. Gracefully: containers get their signal, their hooks and the time that their pods
   * give them, at most 30 s.
   */
  stop(how: "gracefully" | "at once"): Promise<void>;
}

const nodeName = "kws";
const longestGraceSeconds = 30;

/** Resolves when the API is ready and the node takes pods. */
export async function runCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, logger, now } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const standstill = new Standstill();
  let streams: NodeStreams | undefined;
  let ingressMetrics: IngressMetrics | undefined;

  const images = await openImageStore(options.imagesFolder);
  // The runtime takes as long to start as the API server does.
  const [api, containers, certificate] = await Promise.all([
    startApi(options, { streams: () => streams, ingressMetrics: () => ingressMetrics?.text() }),
    startRuntime(options.runtime, {
      name: options.name,
      dataDir: runtimeFolder(folder),
      images,
      node: options.node,
      logger: logger.child({ part: "runtime" }),
    }),
    ownCertificate(networkFolder(folder), now()),
  ]);
  await containers.setApiServer(api.socketPath);

  const client = new KubeClient(api.transport());
  const informers = new SharedInformers(client, { logger: logger.child({ part: "informers" }), signal });
  const common = (part: string) => ({ client, informers, logger: logger.child({ part }), now, signal });
  const [kubelet, network] = await Promise.all([
    startKubelet({
      ...common("kubelet"),
      runtime: containers.runtime,
      images: withBaseImage(images, options.node),
      pullImage: createPuller(images, options.env).pull,
      resolveUser,
      node: { name: nodeName, address: addresses.node },
      dataDir: folder,
      apiServerAddress: { host: addresses.apiServer, port: 443 },
      standstill,
    }),
    startNetwork({
      ...common("network"),
      dataplane: containers.network,
      runtime: containers.runtime,
      ingress: {
        certificate,
        port: options.ingressPort,
        ...(options.previousIngressPort === undefined ? {} : { secondPort: options.previousIngressPort }),
      },
    }),
    startControllers({
      ...common("controllers"),
      rootCa: api.caCertificate,
      sign: api.sign,
      volumesDir: volumesFolder(folder),
      standstill,
    }),
    startScheduler(common("scheduler")),
  ]);
  ({ streams } = kubelet);
  ingressMetrics = network.ingress.metrics;

  return {
    apiPort: api.port,
    ingressPort: network.ingress.port,
    kubeconfig: api.kubeconfig(),
    agentGone: containers.closed,
    snapshot: (target, asked) =>
      standstill.during(async () => {
        const began = performance.now();
        const ended = new AbortController();
        const why = "the process that holds the containers ended before the snapshot was whole";
        void containers.closed.then(() => ended.abort(new UserError(why)));
        await containers.freeze();
        try {
          const interrupted = AbortSignal.any([asked, signal, ended.signal]);
          const captured = await capture(api.objects(), folder, target, interrupted);
          interrupted.throwIfAborted();
          return { ...captured, pausedMs: Math.round(performance.now() - began) };
        } finally {
          await containers.thaw().catch((error: unknown) => {
            logger.error("the containers do not go on", { error: messageOf(error) });
          });
        }
      }),
    async stop(how) {
      // First, while names, Services and the API still answer.
      if (how === "gracefully") await kubelet.stopPods(longestGraceSeconds);
      stopping.abort();
      await Promise.all([kubelet.close(), network.close()]);
      await containers.stop();
      await api.close();
    },
  };
}

/** On the port of last time, so that kubeconfigs stay valid, or on another where a program has taken it meanwhile. */
async function startApi(
  { folder, apiPort, name, logger, now }: ClusterOptions,
  sources: Pick<ApiServerOptions, "streams" | "ingressMetrics">,
): Promise<ApiServer> {
  const part = logger.child({ part: "apiserver" });
  const options = {
    dataDir: apiServerFolder(folder),
    socketPath: await prepareSocket(apiServerSocket(folder)),
    name: `kws-${name}`,
    logger: part,
    now,
    ...sources,
  };
  if (apiPort === undefined) return startApiServer(options);
  try {
    return await startApiServer({ ...options, port: apiPort });
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "conflict") throw error;
    part.warn("the API server moves to another port", { reason: error.message });
    return startApiServer(options);
  }
}

/** The base image is made of what the machine has, when it is first asked for. */
function withBaseImage(store: LocalImageStore, node: ClusterOptions["node"]): ImageStore {
  let assembled: Promise<unknown> | undefined;
  return {
    ...store,
    async find(reference) {
      const found = await store.find(reference);
      if (found !== undefined || reference !== baseImageReference(node.version)) return found;
      await (assembled ??= ensureBaseImage(store, node).finally(() => (assembled = undefined)));
      return store.find(reference);
    },
  };
}
