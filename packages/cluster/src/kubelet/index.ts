/** Runs the pods that are assigned to this node, and serves their logs, exec, attach and port-forward. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { createEventRecorder } from "@kws/kube/events";
import { Informer } from "@kws/kube/informer";
import { pods } from "@kws/kube/resources";
import type { ImageStore, PullImage, ResolveUser } from "../images/image.ts";
import { Backoff } from "./backoff.ts";
import type { KubeletContext } from "./context.ts";
import { measureMachine, registerNode } from "./node.ts";
import type { Pod } from "./pod.ts";
import { References } from "./references.ts";
import type { Container, PodSandbox, Runtime } from "./runtime.ts";
import { serveStreams } from "./serving.ts";
import { Standstill } from "../standstill.ts";
import type { NodeStreams } from "./streams.ts";
import { PodWorker } from "./worker.ts";

export interface KubeletOptions {
  client: KubeClient;
  runtime: Runtime;
  images: ImageStore;
  /** For images that the store does not have. */
  pullImage: PullImage;
  resolveUser: ResolveUser;
  node: { name: string; address: string };
  /** Pods' files are kept under `pods/<uid>` in it. */
  dataDir: string;
  /** Where pods reach the API server. */
  apiServerAddress: { host: string; port: number };
  /** Shared with whoever takes snapshots. */
  standstill?: Standstill;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  signal: AbortSignal;
}

export interface Kubelet {
  streams: NodeStreams;
  /**
   * Starts nothing any more, and ends all containers as their pods ask for, for at most so long. Pods that restart come back
   * with the next kubelet; others have failed, as with https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/.
   */
  stopPods(limitSeconds: number): Promise<void>;
  /** Stops watching and probing; containers go on and are adopted by the next kubelet. */
  close(): Promise<void>;
}

/** Resolves when the Node is Ready and the pods of a previous run have been adopted. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { client, runtime, node, dataDir, logger, now } = options;
  await mkdir(join(dataDir, "pods"), { recursive: true });
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const workers = new Map<string, PodWorker>();
  const machine = await measureMachine(dataDir);
  const references = new References(client, logger, signal, (uid) => workers.get(uid)?.referenceChanged());
  const context: KubeletContext = {
    client,
    runtime,
    images: options.images,
    pullImage: options.pullImage,
    resolveUser: options.resolveUser,
    references,
    recorder: createEventRecorder({ client, component: "kubelet", host: node.name, now, logger }),
    crashes: new Backoff(),
    machine,
    node,
    dataDir,
    apiServer: options.apiServerAddress,
    standstill: options.standstill ?? new Standstill(),
    logger,
    now,
  };

  const left = await inventory(runtime);
  const unsubscribe = runtime.onExit((container) =>
    workers.get(container.sandboxId)?.containers.onExit(container),
  );

  const onChange = (pod: Pod, deleted: boolean) => {
    const uid = pod.metadata.uid ?? "";
    const worker = workers.get(uid);
    if (worker !== undefined) {
      if (deleted) worker.remove();
      else worker.update(pod);
      return;
    }
    if (deleted) return;
    const adopted = { sandbox: left.sandboxes.get(uid), containers: left.containers.get(uid) ?? [] };
    left.sandboxes.delete(uid);
    const fresh = new PodWorker(context, pod, adopted, () => workers.delete(uid));
    workers.set(uid, fresh);
    fresh.kick();
  };
  const registered = registerNode({ client, ...node, machine, logger, now, signal });
  const assigned = new Informer<Pod>(client, pods, {
    fieldSelector: `spec.nodeName=${node.name}`,
    logger,
    signal,
  });
  assigned.subscribe({
    add: (pod) => onChange(pod, false),
    update: (pod) => onChange(pod, false),
    delete: (pod) => onChange(pod, true),
  });
  await assigned.synced();
  await registered;
  void removeOrphans(context, left.sandboxes, (uid) => workers.has(uid));

  return {
    streams: serveStreams(context, (uid) => workers.get(uid), signal),
    async stopPods(limitSeconds) {
      stop.abort();
      const all = [...workers.values()].map((worker) => worker.shutDown(limitSeconds));
      const limit = Promise.withResolvers<void>();
      const timer = setTimeout(limit.resolve, (limitSeconds + 2) * 1000);
      for (const result of await Promise.race([Promise.allSettled(all), limit.promise.then(() => [])])) {
        if (result.status === "rejected") logger.warn("pod not stopped", { error: messageOf(result.reason) });
      }
      clearTimeout(timer);
    },
    async close() {
      stop.abort();
      unsubscribe();
      references.close();
      for (const worker of workers.values()) worker.close();
      workers.clear();
    },
  };
}

async function inventory(
  runtime: Runtime,
): Promise<{ sandboxes: Map<string, PodSandbox>; containers: Map<string, Container[]> }> {
  const [sandboxes, containers] = await Promise.all([runtime.listPodSandboxes(), runtime.listContainers()]);
  return {
    sandboxes: new Map(sandboxes.map((sandbox) => [sandbox.id, sandbox])),
    containers: Map.groupBy(containers, ({ sandboxId }) => sandboxId),
  };
}

/** Sandboxes and files of pods that were deleted while no kubelet ran. */
async function removeOrphans(
  { runtime, dataDir, logger }: KubeletContext,
  sandboxes: ReadonlyMap<string, PodSandbox>,
  isKnown: (uid: string) => boolean,
): Promise<void> {
  try {
    for (const id of sandboxes.keys()) if (!isKnown(id)) await runtime.removePodSandbox(id);
    for (const uid of await readdir(join(dataDir, "pods"))) {
      if (!isKnown(uid)) await rm(join(dataDir, "pods", uid), { recursive: true, force: true });
    }
  } catch (error) {
    logger.warn("orphaned pods not removed", { error: messageOf(error) });
  }
}
