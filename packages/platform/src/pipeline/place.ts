/**
 * Where a run's pods are: a namespace of its own, shut off from others and with bounds, that goes with all that is in it when the run
 * has ended, however it ended. Whoever runs it holds a Lease there, so that what a killed process left behind is known.
 */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases, limitRanges, namespaces, networkPolicies, resourceQuotas } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { fieldManager, managedByLabel, runLabel, serviceLabel } from "../services/labels.ts";
import {
  durationSeconds,
  type Holder,
  holdLease,
  isHeld,
  type LeaseOptions,
  tryTakeLease,
} from "../services/lease.ts";

/** The reason of a signal that ends this process' part of a run, which another process goes on with: all of it stays. */
export class HandedOver extends Error {
  override name = "HandedOver";
}

export interface PlaceOptions {
  client: KubeClient;
  /** The run's id. */
  run: string;
  service: string;
  /** Whether pods reach addresses outside of the cluster. */
  internet: boolean;
  /** Leave the namespace for a day when the run has failed. */
  keepOnFailure: boolean;
  /** Another process goes on with the run where this one is killed: it waits for this one's Lease, and only it removes the namespace. */
  resumable?: boolean;
  holder: Holder;
  signal: AbortSignal;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface RunPlace extends AsyncDisposable {
  namespace: string;
  /** Aborts where somebody else took the run. */
  signal: AbortSignal;
  /** To be called before it is disposed of. */
  ended(outcome: "passed" | "failed"): void;
}

const resumableLabel = "kws.dev/resumable";
const leaseName = "kws-run";
const keepAnnotation = "kws.dev/keep-until";
const keepMs = 24 * 3_600_000;
/** One that has just been made has no Lease yet. */
const youngMs = 60_000;
const removalMs = 120_000;

export function namespaceOf(run: string): string {
  return `kws-run-${run}`;
}

/** Makes the namespace, or finds it where the run goes on. */
export async function openPlace(options: PlaceOptions): Promise<RunPlace> {
  const { client, run, service, signal, clock, holder } = options;
  const namespace = namespaceOf(run);
  const resumable = options.resumable === true;
  const labels = {
    [managedByLabel]: fieldManager,
    [runLabel]: run,
    [serviceLabel]: service,
    ...(resumable ? { [resumableLabel]: "true" } : {}),
  };
  const write = { fieldManager, force: true, signal };
  const space = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } };
  await client.apply(namespaces, space, write);
  let failed = false;
  const lease = { client, name: leaseName, namespace, labels, holder, signal, clock };
  try {
    const other = await (resumable ? takeOver(lease) : tryTakeLease(lease));
    if (other !== undefined) {
      throw new UserError(`the run ${run} is at work in another process`, {
        code: "conflict",
        fix: "Wait for it to end.",
      });
    }
    const { quota, limits, policy } = boundsOf(namespace, options.internet);
    await Promise.all([
      client.apply(resourceQuotas, quota, write),
      client.apply(limitRanges, limits, write),
      client.apply(networkPolicies, policy, write),
    ]);
  } catch (error) {
    const ours = !(error instanceof UserError && error.code === "conflict");
    if (ours && !(signal.reason instanceof HandedOver)) await removeSpace(client, namespace);
    throw error;
  }
  const held = holdLease({
    ...lease,
    until: "expired",
    lost: (why) =>
      new UserError(`the run ${run} was lost: ${why}`, { code: "conflict", fix: "Run it again." }),
  });
  return {
    namespace,
    signal: held.signal,
    ended(outcome) {
      failed = outcome === "failed";
    },
    async [Symbol.asyncDispose]() {
      try {
        if (signal.reason instanceof HandedOver || held.signal.aborted) return;
        if (failed && options.keepOnFailure) await keep(client, namespace, clock());
        else await removeSpace(client, namespace);
      } finally {
        await held[Symbol.asyncDispose]();
      }
    },
  };
}

/** Of a process on another machine one can only see that it renews nothing. */
async function takeOver(lease: LeaseOptions): Promise<KubeObject | undefined> {
  const seen = await tryTakeLease(lease);
  if (seen === undefined) return undefined;
  await sleep(durationSeconds * 1000, lease.signal);
  return tryTakeLease(lease, seen.metadata.resourceVersion);
}

function boundsOf(
  namespace: string,
  internet: boolean,
): { quota: KubeObject; limits: KubeObject; policy: KubeObject } {
  const metadata = { name: "kws-run", namespace };
  const dns = { ports: ["UDP", "TCP"].map((protocol) => ({ protocol, port: 53 })) };
  const own = { podSelector: {} };
  const outside = {
    ipBlock: {
      cidr: "0.0.0.0/0",
      // RFC 1918, RFC 3927: the cluster's own network, its nodes, and a cloud's metadata are not the internet.
      except: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"],
    },
  };
  return {
    quota: {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata,
      spec: { hard: { pods: "200", "limits.cpu": "64", "limits.memory": "128Gi", services: "50" } },
    },
    limits: {
      apiVersion: "v1",
      kind: "LimitRange",
      metadata,
      spec: {
        limits: [
          {
            type: "Container",
            default: { cpu: "1", memory: "512Mi" },
            defaultRequest: { cpu: "50m", memory: "32Mi" },
          },
        ],
      },
    },
    policy: {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata,
      spec: {
        podSelector: {},
        policyTypes: ["Ingress", "Egress"],
        ingress: [{ from: [own] }],
        egress: [dns, { to: internet ? [own, outside] : [own] }],
      },
    },
  };
}

async function keep(client: KubeClient, namespace: string, now: number): Promise<void> {
  const until = new Date(now + keepMs).toISOString();
  const metadata = { annotations: { [keepAnnotation]: until } };
  await client.patch(namespaces, namespace, undefined, "merge", { metadata }, { fieldManager });
}

/** Removes the namespaces of runs that nobody is at work in: of processes that were killed, and those kept when their day is over. */
export async function sweepRuns(
  options: Pick<PlaceOptions, "client" | "holder" | "clock" | "signal"> & {
    /** Whether a run that another process could go on with has ended; all of them may go on unless given. */
    ended?: (run: string) => Promise<boolean>;
  },
): Promise<string[]> {
  const { client, holder, clock, signal, ended = () => Promise.resolve(false) } = options;
  const labelSelector = `${managedByLabel}=${fieldManager},${runLabel}`;
  const [spaces, held] = await Promise.all(
    [namespaces, leases].map((resource) => client.list(resource, undefined, { labelSelector, signal })),
  );
  const now = clock();
  const dead = (spaces?.items ?? []).filter(({ metadata }) => {
    const until = metadata.annotations?.[keepAnnotation];
    if (metadata.deletionTimestamp !== undefined) return false;
    if (until !== undefined) return Date.parse(until) < now;
    const lease = held?.items.find((one) => one.metadata.namespace === metadata.name);
    return lease === undefined
      ? now - Date.parse(metadata.creationTimestamp ?? "") > youngMs
      : !isHeld(lease, holder.host, now);
  });
  const names: string[] = [];
  for (const { metadata } of dead) {
    const { name, labels = {} } = metadata;
    if (labels[resumableLabel] !== undefined && !(await ended(labels[runLabel] ?? ""))) continue;
    await removeSpace(client, name);
    names.push(name);
  }
  return names;
}

/** Resolves when it is gone. Goes on after Ctrl-C. */
async function removeSpace(client: KubeClient, name: string): Promise<void> {
  const signal = AbortSignal.timeout(removalMs);
  try {
    await client.delete(namespaces, name, undefined, { signal });
  } catch (error) {
    if (isApiError(error, "NotFound")) return;
    throw error;
  }
  while ((await client.find(namespaces, name)) !== undefined) await sleep(50, signal);
}
