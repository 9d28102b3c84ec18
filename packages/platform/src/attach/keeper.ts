/**
 * Keeps a stack's gateway connected: the tunnel to its pod on one side, the ports of the other cluster's pods on the other. A
 * Lease says who does it. Whatever is lost, the cluster here or there, the network, the machine's wakefulness, is found again.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { conditionOf } from "@kws/kube/readiness";
import { leases, pods } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { remoteLabel } from "../services/labels.ts";
import {
  describeHolder,
  heldSince,
  type HeldLease,
  type Holder,
  holdingProcess,
  holdLease,
  isHeld,
  tryTakeLease,
} from "../services/lease.ts";
import type { ProcessIdentity } from "@kws/base/process";
import type { Cluster } from "./cluster.ts";
import { type Forward, openForward } from "./forward.ts";
import { type Gateway, gatewayName, type GatewayStack, pathOf, revisionAnnotation } from "./gateway.ts";
import { type LocalAddress, openLaptop } from "./laptop.ts";

export interface KeepOptions {
  gateway: Gateway;
  /** The stack's. */
  cluster: Cluster;
  /** That has the services. */
  remote: Cluster;
  holder: Holder;
  /** Milliseconds since the epoch. */
  clock: () => number;
  signal: AbortSignal;
  onEvent: (event: KeeperEvent) => void;
}

export type KeeperEvent =
  | { kind: "connected" }
  | { kind: "lost" }
  /** A Service of the other cluster begins to fail, and works again. */
  | { kind: "failing"; service: string; reason: string }
  | { kind: "working"; service: string };

const firstPauseMs = 200;
const lastPauseMs = 2000;
/** A cluster here that has not answered for so long was stopped or removed. Sleep of the machine does not count. */
const giveUpMs = 120_000;

/** Goes on until the signal aborts; throws where somebody else keeps it, ends it, or the stack's cluster is gone. */
export async function keepGateway(options: KeepOptions): Promise<void> {
  await using lease = await takeLease(options);
  await using ways = new Ways(options);
  const stop = AbortSignal.any([options.signal, lease.signal]);
  try {
    for (;;) {
      const { closed } = await connect(options, ways, stop);
      options.onEvent({ kind: "connected" });
      await closed;
      stop.throwIfAborted();
      options.onEvent({ kind: "lost" });
    }
  } catch (error) {
    if (lease.signal.aborted) throw lease.signal.reason;
    if (!options.signal.aborted) throw error;
  }
}

async function takeLease(options: KeepOptions): Promise<HeldLease> {
  const { cluster, gateway, holder, clock } = options;
  const { stack, namespace } = gateway;
  const lease = {
    ...options,
    client: cluster.client,
    name: gatewayName(stack),
    namespace,
    labels: { [remoteLabel]: stack },
  };
  const other = await tryTakeLease(lease);
  if (other !== undefined) {
    const taken = new UserError(
      `${describeHolder(other)} keeps the remote services of ${stack} connected since ${heldSince(other)}`,
      { code: "conflict", fix: "Nothing is to be done." },
    );
    if (isHeld(other, holder.host, clock())) throw taken;
    if ((await tryTakeLease(lease, other.metadata.resourceVersion)) !== undefined) throw taken;
  }
  return holdLease({
    ...lease,
    until: "taken",
    lost: (why) =>
      new UserError(
        `the remote services of ${stack} are not kept connected by this process any more: ${why}`,
        {
          code: "conflict",
          fix: `Run \`kws stack start ${stack}\` to connect them again.`,
        },
      ),
  });
}

/** The tunnel, once there is a pod that takes it. */
async function connect(
  { cluster, gateway }: KeepOptions,
  ways: Ways,
  stop: AbortSignal,
): Promise<{ closed: Promise<void> }> {
  const { stack, namespace, config } = gateway;
  let answered = performance.now();
  for (let pause = firstPauseMs; ; pause = Math.min(pause * 2, lastPauseMs)) {
    try {
      const pod = await gatewayPod(cluster.client, gateway, stop);
      answered = performance.now();
      if (pod !== undefined) {
        return await openLaptop({
          cluster,
          pod: { namespace, pod: pod.metadata.name, port: config.control },
          token: config.token,
          local: (path) => ways.find(path),
          signal: stop,
          onConnection: () => {},
        });
      }
    } catch (error) {
      stop.throwIfAborted();
      if (performance.now() - answered > giveUpMs) {
        throw new UserError(`the cluster of the stack ${stack} does not answer: ${messageOf(error)}`, {
          code: "tool-missing",
          fix: `Start it, and run \`kws stack start ${stack}\`.`,
          cause: error,
        });
      }
    }
    await sleep(pause, stop);
  }
}

/** The pod that runs with the gateway's present configuration; undefined while there is none. */
async function gatewayPod(
  client: KubeClient,
  { stack, namespace, revision }: Gateway,
  signal: AbortSignal,
): Promise<KubeObject | undefined> {
  const { items } = await client.list(pods, namespace, {
    labelSelector: `${remoteLabel}=${stack}`,
    signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
  });
  return items.find(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined &&
      metadata.annotations?.[revisionAnnotation] === revision &&
      status?.phase === "Running",
  );
}

/** Whether connections reach the other cluster. */
export async function isConnected(
  client: KubeClient,
  gateway: Gateway,
  signal: AbortSignal,
): Promise<boolean> {
  const pod = await gatewayPod(client, gateway, signal);
  return pod !== undefined && conditionOf(pod, "Ready")?.status === "True";
}

/** Ports of this machine that lead to those of the other cluster, each opened when it is first asked for. */
class Ways implements AsyncDisposable {
  readonly #options: KeepOptions;
  readonly #forwards = new Map<string, Promise<Forward>>();
  readonly #targets: Map<string, { service: string; name: string; port: number }>;
  readonly #closed = new AbortController();

  constructor(options: KeepOptions) {
    this.#options = options;
    this.#targets = new Map(
      options.gateway.objects.flatMap(({ service, name, ports }) =>
        ports.map(({ port }) => [pathOf(name, port), { service, name, port }] as const),
      ),
    );
  }

  async find(path: string): Promise<LocalAddress | undefined> {
    const target = this.#targets.get(path);
    if (target === undefined || this.#closed.signal.aborted) return undefined;
    let forward = this.#forwards.get(path);
    if (forward === undefined) {
      forward = this.#open(target);
      this.#forwards.set(path, forward);
    }
    return { host: "127.0.0.1", port: (await forward).port };
  }

  #open({ service, name, port }: { service: string; name: string; port: number }): Promise<Forward> {
    const { gateway, remote, onEvent } = this.#options;
    return openForward({
      cluster: remote,
      target: { service, namespace: gateway.place.namespace, kubeService: name, port },
      address: "127.0.0.1",
      localPort: 0,
      preferred: port,
      signal: this.#closed.signal,
      onState: ({ working, reason = "" }) =>
        onEvent(working ? { kind: "working", service } : { kind: "failing", service, reason }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new Error("closed"));
    const opened = await Promise.allSettled(this.#forwards.values());
    for (const one of opened) if (one.status === "fulfilled") await one.value[Symbol.asyncDispose]();
  }
}

/** Who keeps a stack's gateway connected; undefined where nobody does. */
export interface Keeper {
  /** `user@host (process 12)`. */
  by: string;
  /** RFC 3339. */
  since: string;
  /** Undefined where it is of another machine. */
  process: ProcessIdentity | undefined;
}

export async function findKeeper(
  client: KubeClient,
  { stack, namespace }: GatewayStack,
  { host, now }: { host: string; now: number },
): Promise<Keeper | undefined> {
  const lease = await client.find(leases, gatewayName(stack), namespace);
  if (lease === undefined || !isHeld(lease, host, now)) return undefined;
  return { by: describeHolder(lease), since: heldSince(lease), process: holdingProcess(lease, host) };
}

/** Lets nobody keep it: whoever does ends at the next renewal, where it is not ended before. */
export async function dropKeeper(client: KubeClient, { stack, namespace }: GatewayStack): Promise<void> {
  try {
    await client.delete(leases, gatewayName(stack), namespace);
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}
