/** Registers this machine as a Node and shows that it lives: a Lease every 10 s, the status itself rarely. */
import { statfs } from "node:fs/promises";
import { arch, cpus, release, totalmem } from "node:os";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases, namespaces, nodes } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { kubernetesVersion } from "../version.ts";
import type { Allocatable } from "./downward.ts";
import { pause, timestamp } from "./time.ts";

export interface NodeOptions {
  client: KubeClient;
  name: string;
  address: string;
  machine: Allocatable;
  logger: Logger;
  now: () => number;
  signal: AbortSignal;
}

const leaseSeconds = 40;
const heartbeatMs = 10_000;
/** The node's status is written anew after this many heartbeats: five minutes. */
const statusEvery = 30;

export async function measureMachine(dataDir: string): Promise<Allocatable> {
  const disk = await statfs(dataDir);
  return { cpu: cpus().length, memory: totalmem(), ephemeralStorage: disk.blocks * disk.bsize };
}

/** Resolves once the Node stands and is Ready; heartbeats go on until the signal aborts. */
export async function registerNode(options: NodeOptions): Promise<void> {
  await writeNode(options);
  void beat(options);
}

async function beat(options: NodeOptions): Promise<void> {
  for (let count = 1; !options.signal.aborted; count += 1) {
    try {
      await renewLease(options);
      if (count % statusEvery === 0) await writeNode(options);
    } catch (error) {
      if (options.signal.aborted) return;
      options.logger.warn("node heartbeat failed", { error: messageOf(error) });
    }
    if (!(await pause(heartbeatMs, options.signal))) return;
  }
}

async function writeNode({ client, name, address, machine, now }: NodeOptions): Promise<void> {
  const architecture = arch() === "x64" ? "amd64" : arch();
  const labels = {
    "kubernetes.io/hostname": name,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": architecture,
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": architecture,
    "node-role.kubernetes.io/control-plane": "",
  };
  const found = await client.find(nodes, name);
  if (found === undefined) {
    await client
      .create(nodes, { apiVersion: "v1", kind: "Node", metadata: { name, labels }, spec: {} })
      .catch((error: unknown) => {
        if (!isApiError(error, "AlreadyExists")) throw error;
      });
  } else {
    await client.patch(nodes, name, undefined, "merge", { metadata: { labels } });
  }
  const capacity = {
    cpu: String(machine.cpu),
    memory: `${Math.floor(machine.memory / 1024)}Ki`,
    "ephemeral-storage": `${Math.floor(machine.ephemeralStorage / 1024)}Ki`,
    pods: "110",
  };
  const time = timestamp(now());
  const status = {
    capacity,
    allocatable: capacity,
    addresses: [
      { type: "InternalIP", address },
      { type: "Hostname", address: name },
    ],
    conditions: nodeConditions(found, time),
    daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    nodeInfo: {
      machineID: "",
      systemUUID: "",
      bootID: "",
      kernelVersion: release(),
      osImage: "kws",
      containerRuntimeVersion: "kws://0.1.0",
      kubeletVersion: kubernetesVersion,
      kubeProxyVersion: "",
      operatingSystem: "linux",
      architecture,
    },
  };
  await client.patch(nodes, name, undefined, "merge", { status }, { subresource: "status" });
}

const conditionTypes = [
  ["MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
  ["DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
  ["PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
  ["Ready", "True", "KubeletReady", "kubelet is posting ready status"],
] as const;

function nodeConditions(node: KubeObject | undefined, time: string): object[] {
  const old = (node?.status?.conditions ?? []) as {
    type: string;
    status: string;
    lastTransitionTime: string;
  }[];
  return conditionTypes.map(([type, status, reason, message]) => {
    const before = old.find((condition) => condition.type === type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : time;
    return { type, status, reason, message, lastHeartbeatTime: time, lastTransitionTime };
  });
}

async function renewLease({ client, name, now }: NodeOptions): Promise<void> {
  const namespace = "kube-node-lease";
  const renewTime = new Date(now()).toISOString().replace("Z", "000Z");
  try {
    await client.patch(leases, name, namespace, "merge", { spec: { renewTime } });
    return;
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
  const node = await client.get(nodes, name);
  const owner = { apiVersion: "v1", kind: "Node", name, uid: node.metadata.uid ?? "" };
  const lease = {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace, ownerReferences: [owner] },
    spec: { holderIdentity: name, leaseDurationSeconds: leaseSeconds, renewTime },
  };
  try {
    await client.create(leases, lease);
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
    await client.create(namespaces, object);
    await client.create(leases, lease);
  }
}
