/** A cluster's containers and network in a Docker Engine: found where they run, or made. */
import { mkdir } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { join } from "node:path";
import type Docker from "dockerode";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { ensureBaseImage, type HostNode } from "../../../images/base-image.ts";
import type { LocalImageStore } from "../../../images/store.ts";
import { shareHostServices } from "../../../network/host-services.ts";
import { prepareSocket, removeSocket } from "../../../sockets.ts";
import type { Container, Runtime } from "../../runtime.ts";
import type { ClusterRuntime } from "../cluster-runtime.ts";
import { forwardToHost } from "../sandbox/forward.ts";
import { EngineContainers } from "./containers.ts";
import { stopAll } from "./end.ts";
import { connectEngine, isStatus, orMissing } from "./engine.ts";
import { ensureHelper } from "./helper-container.ts";
import { EngineImages } from "./images.ts";
import { outwardSockets, shareOf } from "./layout.ts";
import { ensureNetwork } from "./network.ts";
import { EnginePods } from "./pods.ts";
import { attachTo, dialLoopback, execIn } from "./sessions.ts";

export interface DockerRuntimeOptions {
  /** The cluster's name. */
  name: string;
  /** The runtime's own folder within the cluster's data. */
  dataDir: string;
  /** The engine's. */
  socketPath: string;
  images: LocalImageStore;
  /** What the helper's image is made of, or which version it is of. */
  node: HostNode;
  logger: Logger;
}

/** Throws a `UserError` that says what the engine lacks. */
export async function startDockerRuntime(options: DockerRuntimeOptions): Promise<ClusterRuntime> {
  const { name, dataDir, logger } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const engine = await connectEngine(options.socketPath);
  const { docker, cpus } = engine;
  const share = shareOf(docker, name, dataDir);
  const images = new EngineImages(docker, options.images);
  const image = await helperImage(options, docker, images);
  const network = await ensureNetwork(share);
  const helper = await ensureHelper(share, network, image);
  const { client } = helper;

  const listeners = new Set<(container: Container) => void>();
  const pods = new EnginePods(share, { network, image, helper: helper.name });
  const containers = new EngineContainers({
    share,
    pods,
    images,
    cpus,
    logger,
    onExit: (container) => listeners.forEach((listener) => listener(container)),
  });
  await pods.adopt();
  await containers.adopt();
  const stillness = new Stillness(containers);
  // The daemon that made them stand still was killed.
  await stillness.thaw();

  const outward = { apiserver: "", host: await prepareSocket(join(dataDir, "host.sock")) };
  client.onResolve(forwardToHost);
  client.onOutward((to) => outward[to]);
  const host = await shareHostServices({
    socketPath: outward.host,
    onPorts(ports) {
      client
        .call("setHostPorts", { path: outwardSockets.host, ports })
        .catch((error: unknown) => logger.warn("the host's ports", { error: messageOf(error) }));
    },
  });
  void client.closed.then(() => host.close());
  const disconnect = () => {
    containers.close();
    client.disconnect();
    engine[Symbol.dispose]();
  };

  const runtime: Runtime = {
    runPodSandbox: (spec) => stillness.starting(() => pods.run(spec)),
    async removePodSandbox(id) {
      await stillness.ended();
      await containers.removeAllOf(id);
      await pods.remove(id);
    },
    listPodSandboxes: async () => pods.list(),
    startContainer: (spec) => stillness.starting(() => containers.start(spec)),
    async stopContainer(id, gracePeriodSeconds) {
      await stillness.ended();
      await containers.stop(id, gracePeriodSeconds);
    },
    async removeContainer(id) {
      await stillness.ended();
      await containers.remove(id);
    },
    listContainers: async () => containers.list(),
    usage: () => client.call("measure", containers.roots()),
    onExit(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    exec: (id, spec) =>
      stillness.starting(async () =>
        execIn(containers.running(id), spec, async (pid) => void (await client.call("kill", pid))),
      ),
    attach: async (id) => attachTo(containers.running(id)),
    async dial(target, port, sandboxId) {
      if (sandboxId === undefined) return client.runtime.dial(target, port);
      const pod = pods.get(sandboxId);
      if (!pod) throw new Error(`pod sandbox "${sandboxId}" not found`);
      try {
        return await client.runtime.dial(pod.address, port);
      } catch (error) {
        if (pod.hostNetwork) throw error;
      }
      const found: Duplex | undefined = await dialLoopback(docker.getContainer(pod.pause), port);
      if (found) return found;
      throw new Error(
        `connection refused: nothing listens on port ${port} of pod ${pod.namespace}/${pod.name}`,
      );
    },
  };
  logger.info(helper.adopted ? "helper adopted" : "helper started", { network: network.name });
  return {
    runtime,
    network: client.network,
    adopted: helper.adopted,
    async setApiServer(path) {
      outward.apiserver = path;
      await client.call("setApiServer", outwardSockets.apiserver);
    },
    freeze: () => stillness.freeze(),
    thaw: () => stillness.thaw(),
    closed: client.closed,
    async stop() {
      await stillness.thaw();
      await containers.stopAll();
      containers.close();
      client.disconnect();
      await stopAll(share);
      engine[Symbol.dispose]();
      await removeSocket(join(dataDir, "host.sock"));
    },
    disconnect,
  };
}

/**
 * The engine's id of an image with Node, a shell and `ip`: made of this machine's own where that is Linux, elsewhere the official
 * one of the same Node, which the engine pulls.
 */
async function helperImage(
  { images: store, node, logger }: DockerRuntimeOptions,
  docker: Docker,
  images: EngineImages,
): Promise<string> {
  if (process.platform === "linux") return images.load((await ensureBaseImage(store, node)).digest);
  const name = `node:${node.version}-alpine`;
  const known = await orMissing(docker.getImage(name).inspect());
  if (known !== undefined) return known.Id;
  logger.info("the engine pulls an image for the helper", { name });
  const progress = await docker.pull(name);
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(progress, (error) => (error ? reject(error) : resolve()));
  });
  return (await docker.getImage(name).inspect()).Id;
}

/** Containers of the engine stand still together; what would start more waits. */
class Stillness {
  readonly #containers: EngineContainers;
  readonly #starts = new Set<Promise<unknown>>();
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(containers: EngineContainers) {
    this.#containers = containers;
  }

  async ended(): Promise<void> {
    while (this.#frozen !== undefined) await this.#frozen.promise;
  }

  async starting<T>(work: () => Promise<T>): Promise<T> {
    await this.ended();
    const start = work();
    this.#starts.add(start);
    try {
      return await start;
    } finally {
      this.#starts.delete(start);
    }
  }

  async freeze(): Promise<void> {
    if (this.#frozen !== undefined) throw new Error("the containers stand still already");
    this.#frozen = Promise.withResolvers();
    try {
      await Promise.allSettled(this.#starts);
      await this.#all("pause");
    } catch (error) {
      await this.thaw();
      throw error;
    }
  }

  async thaw(): Promise<void> {
    try {
      await this.#all("unpause");
    } finally {
      this.#frozen?.resolve();
      this.#frozen = undefined;
    }
  }

  async #all(what: "pause" | "unpause"): Promise<void> {
    await Promise.all(
      this.#containers.allRunning().map(async ({ inEngine }) => {
        try {
          await inEngine[what]();
        } catch (error) {
          // It has ended, or is in that state.
          if (!isStatus(error, 404, 409, 500)) throw error;
        }
      }),
    );
  }
}
