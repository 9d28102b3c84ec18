/**
 * Places pods on nodes: the most important waiting pod first, one after another, each against what the nodes carry with
 * the pods just placed. A pod that fits nowhere ends less important ones where that makes room, and waits until a node, a pod
 * or a volume changes.
 */
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { CachedResource } from "@kws/kube/cached";
import type { KubeClient } from "@kws/kube/client";
import { createEventRecorder } from "@kws/kube/events";
import { SharedInformers } from "@kws/kube/informer";
import { keyOf, type KubeObject } from "@kws/kube/object";
import {
  namespaces,
  nodes as nodeResource,
  persistentVolumeClaims,
  persistentVolumes,
  podDisruptionBudgets,
  pods as podResource,
  storageClasses,
} from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { withCondition } from "../controllers/conditions.ts";
import { isFinished, type Pod } from "../controllers/pods.ts";
import { fitMessage, reasonsAgainst, type Cluster } from "./filters.ts";
import { nodeInfo, type Node, type NodeInfo } from "./node-info.ts";
import { findPreemption, priorityOf } from "./preemption.ts";
import { rank } from "./scores.ts";
import { createVolumeCheck, selectedNode } from "./volumes.ts";

export interface SchedulerOptions {
  client: KubeClient;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  signal: AbortSignal;
  /** Shared with other parts of the process; own ones unless given. */
  informers?: SharedInformers;
}

const schedulerName = "default-scheduler";

/** Resolves when the scheduler runs. It ends with the signal. */
export async function startScheduler(options: SchedulerOptions): Promise<void> {
  const { client, logger, now, signal } = options;
  const informers = options.informers ?? new SharedInformers(client, { logger, signal });
  const pods = new CachedResource(client, informers.of<Pod>(podResource), now);
  const nodes = informers.of<Node>(nodeResource);
  const claims = new CachedResource(client, informers.of(persistentVolumeClaims), now);
  const volumes = informers.of(persistentVolumes);
  const classes = informers.of(storageClasses);
  const namespaceInformer = informers.of(namespaces);
  const budgets = informers.of(podDisruptionBudgets);
  const recorder = createEventRecorder({ client, component: schedulerName, now, logger });
  const checkVolumes = createVolumeCheck({ claims: claims.informer, volumes, classes });

  /** Pods to look at, and those that fitted nowhere at their last look. */
  const waiting = new Map<string, Pod>();
  const hopeless = new Map<string, Pod>();
  /** Sent to a node, while the copy does not show it yet. */
  const placed = new Map<string, Pod>();
  let running = false;

  const isOurs = (pod: Pod): boolean =>
    !pod.spec.nodeName &&
    !isFinished(pod) &&
    pod.metadata.deletionTimestamp === undefined &&
    (pod.spec["schedulerName"] ?? schedulerName) === schedulerName &&
    ((pod.spec["schedulingGates"] ?? []) as unknown[]).length === 0;

  const retryAll = (): void => {
    for (const [key, pod] of hopeless) waiting.set(key, pod);
    hopeless.clear();
    run();
  };

  pods.informer.subscribe({
    add(pod) {
      if (!isOurs(pod)) return;
      waiting.set(keyOf(pod), pod);
      run();
    },
    update(pod, old) {
      const key = keyOf(pod);
      if (pod.spec.nodeName) {
        placed.delete(key);
        waiting.delete(key);
        hopeless.delete(key);
      } else if (!isOurs(pod)) {
        waiting.delete(key);
        hopeless.delete(key);
      } else if (hopeless.has(key) && !changesPlacement(pod, old)) {
        hopeless.set(key, pod);
      } else if (!placed.has(key)) {
        hopeless.delete(key);
        waiting.set(key, pod);
        run();
      }
      // A finished pod frees what it held.
      if (isFinished(pod) && !isFinished(old)) retryAll();
    },
    delete(pod) {
      const key = keyOf(pod);
      waiting.delete(key);
      hopeless.delete(key);
      placed.delete(key);
      retryAll();
    },
  });
  nodes.subscribe({
    add: retryAll,
    update: (node, old) => {
      if (describesRoom(node) !== describesRoom(old)) retryAll();
    },
  });
  claims.informer.subscribe({ add: retryAll, update: retryAll });
  volumes.subscribe({ add: retryAll, update: retryAll });
  classes.subscribe({ add: retryAll });
  await informers.synced();
  run();

  function run(): void {
    if (running || signal.aborted || !nodes.hasSynced || !pods.informer.hasSynced) return;
    running = true;
    void drain().finally(() => {
      running = false;
      if (waiting.size > 0) run();
    });
  }

  async function drain(): Promise<void> {
    // Let pods that arrive in the same turn compete.
    await Promise.resolve();
    for (let pod = next(); pod !== undefined && !signal.aborted; pod = next()) {
      const key = keyOf(pod);
      waiting.delete(key);
      try {
        await schedule(pod);
      } catch (error) {
        if (error instanceof ApiError && [404, 409].includes(error.code)) {
          logger.debug("pod changed while it was placed", { pod: key });
        } else {
          logger.warn("scheduling failed", { pod: key, error: messageOf(error) });
        }
        placed.delete(key);
        retryLater(key);
      }
    }
  }

  /** Looks again at what the copy holds then; nothing else would wake a pod whose binding was refused. */
  function retryLater(key: string): void {
    const timer = setTimeout(() => {
      const [namespace, name = ""] = key.split("/");
      const pod = pods.get(name, namespace);
      if (pod === undefined || !isOurs(pod) || signal.aborted) return;
      waiting.set(key, pod);
      run();
    }, 100);
    timer.unref();
  }

  function next(): Pod | undefined {
    let best: Pod | undefined;
    for (const pod of waiting.values()) {
      if (best === undefined || priorityOf(pod) > priorityOf(best)) best = pod;
    }
    return best;
  }

  async function schedule(pod: Pod): Promise<void> {
    const cluster = snapshot(pod);
    const blocked = checkVolumes.unready(pod);
    if (blocked !== undefined)
      return reject(pod, `0/${cluster.nodes.length} nodes are available: ${blocked}.`);
    const verdicts = cluster.nodes.map((info) => ({ info, reasons: reasonsAgainst(pod, info, cluster) }));
    const fitting = verdicts.filter(({ reasons }) => reasons.length === 0).map(({ info }) => info);
    const [best] = rank(pod, fitting, cluster);
    if (best === undefined) {
      await reject(pod, fitMessage(verdicts.map(({ reasons }) => reasons)));
      return preempt(pod, cluster);
    }
    const nodeName = best.node.metadata.name;
    const pending = checkVolumes.waitingForNode(pod);
    if (pending.length > 0) {
      // The binder makes the volumes for this node; their binding wakes the pod.
      for (const claim of pending) await chooseNode(claim, nodeName);
      hopeless.set(keyOf(pod), pod);
      if (checkVolumes.waitingForNode(pod).length === 0) retryAll();
      return;
    }
    await bind(pod, nodeName);
  }

  async function chooseNode(claim: KubeObject, nodeName: string): Promise<void> {
    if (claim.metadata.annotations?.[selectedNode] === nodeName) return;
    await claims.patch(claim, "merge", { metadata: { annotations: { [selectedNode]: nodeName } } });
  }

  async function bind(pod: Pod, nodeName: string): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    placed.set(keyOf(pod), { ...pod, spec: { ...pod.spec, nodeName } });
    const target = { apiVersion: "v1", kind: "Node", name: nodeName };
    const binding = { apiVersion: "v1", kind: "Binding", metadata: { name, namespace, uid }, target };
    await client.create(podResource, binding, { subresource: "binding" });
    recorder.event(pod, "Normal", "Scheduled", `Successfully assigned ${namespace}/${name} to ${nodeName}`);
  }

  async function reject(pod: Pod, message: string): Promise<void> {
    const key = keyOf(pod);
    hopeless.set(key, pod);
    const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message } as const;
    const present = pod.status?.conditions ?? [];
    const conditions = withCondition(present, condition, now());
    if (conditions === present) return;
    recorder.event(pod, "Warning", "FailedScheduling", message);
    await pods.patch(pod, "strategic", { status: { conditions } }, { subresource: "status" });
  }

  /** Ends pods whose room this one needs, and keeps that room for it until they are gone. */
  async function preempt(pod: Pod, cluster: Cluster): Promise<void> {
    const nominated = nominatedNode(pod);
    const waitsForRoom = cluster.nodes
      .find(({ node }) => node.metadata.name === nominated)
      ?.pods.some((one) => one.metadata.deletionTimestamp !== undefined && priorityOf(one) < priorityOf(pod));
    if (waitsForRoom === true) return;
    const found = findPreemption(pod, cluster, budgets.list());
    const nominatedNodeName = found?.nodeName ?? null;
    if (nominatedNodeName !== (nominated ?? null))
      await pods.patch(pod, "strategic", { status: { nominatedNodeName } }, { subresource: "status" });
    for (const victim of found?.victims ?? []) {
      if (victim.metadata.deletionTimestamp !== undefined) continue;
      const condition = {
        type: "DisruptionTarget",
        status: "True",
        reason: "PreemptionByScheduler",
        message: `${schedulerName}: preempting to accommodate a higher priority pod`,
      } as const;
      const conditions = withCondition(victim.status?.conditions, condition, now());
      await pods.patch(victim, "strategic", { status: { conditions } }, { subresource: "status" });
      const { name, namespace, uid } = victim.metadata;
      await client.delete(podResource, name, namespace, { preconditions: { uid } });
      const note = `Preempted by pod ${pod.metadata.uid} on node ${found?.nodeName}`;
      recorder.event(victim, "Normal", "Preempted", note);
    }
  }

  /** The nodes as `candidate` finds them: room that is kept for pods at least as important is taken. */
  function snapshot(candidate: Pod): Cluster {
    const byNode = new Map<string, Pod[]>();
    for (const cached of pods.list()) {
      const pod = placed.get(keyOf(cached)) ?? cached;
      const isKept =
        isOurs(pod) && keyOf(pod) !== keyOf(candidate) && priorityOf(pod) >= priorityOf(candidate);
      const nodeName = pod.spec.nodeName || (isKept ? nominatedNode(pod) : undefined);
      if (!nodeName || isFinished(pod)) continue;
      const list = byNode.get(nodeName);
      if (list === undefined) byNode.set(nodeName, [pod]);
      else list.push(pod);
    }
    const infos: NodeInfo[] = nodes
      .list()
      .map((node) => nodeInfo(node, byNode.get(node.metadata.name) ?? []));
    return {
      nodes: infos,
      labelsOfNamespace: (namespace) => namespaceInformer.get(namespace)?.metadata.labels,
      volumeConflict: (pod, { node }) => checkVolumes.conflict(pod, node),
    };
  }
}

/** Where room is being made for the pod. */
function nominatedNode(pod: Pod): string | undefined {
  return (pod.status?.["nominatedNodeName"] as string | undefined) || undefined;
}

/** Status writes of our own must not wake the pod that they are about. */
function changesPlacement(pod: Pod, old: Pod): boolean {
  const relevant = ({ metadata, spec }: Pod): string => JSON.stringify([metadata.labels, spec]);
  return relevant(pod) !== relevant(old);
}

/** Heartbeats change a node's conditions all the time; these fields alone decide what fits. */
function describesRoom({ metadata, spec, status }: Node): string {
  return JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable, status?.allocatable]);
}
