/**
 * Leases, held and renewed as client-go's leader election does (https://kubernetes.io/docs/concepts/architecture/leases/), so
 * that people on other machines are kept apart as well. They say who holds, and since when.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { isRunning, type ProcessIdentity, processName, processOf } from "@kws/base/process";
import { sleep } from "@kws/base/retry";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { fieldManager, managedByLabel } from "./labels.ts";

/** Who runs this kws. */
export interface Holder {
  user: string;
  host: string;
  pid: number;
}

export interface LeaseOptions {
  client: KubeClient;
  name: string;
  namespace: string;
  labels: Record<string, string>;
  holder: Holder;
  signal: AbortSignal;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface HeldLease extends AsyncDisposable {
  /** Aborts where somebody else took the lease, or because it could not be renewed. */
  signal: AbortSignal;
}

export const durationSeconds = 15;
const renewMs = 5000;

/** Takes the lease, or answers who has it. One that is still of the version `expired` is taken over. */
export async function tryTakeLease(options: LeaseOptions, expired?: string): Promise<KubeObject | undefined> {
  const { client, name, namespace, signal } = options;
  const me = identityOf(options.holder);
  const found = await client.find(leases, name, namespace);
  try {
    if (found === undefined) {
      await client.create(leases, leaseOf(options, me), { fieldManager, signal });
      return undefined;
    }
    const holder = String(found["spec"]?.holderIdentity ?? "");
    const free = holder === "" || holder === me || holderRuns(holder, options.holder.host) === false;
    if (!free && found.metadata.resourceVersion !== expired) return found;
    const fresh = leaseOf(options, me);
    const metadata = { ...found.metadata, ...fresh.metadata };
    await client.update(leases, { ...fresh, metadata }, { fieldManager, signal });
    return undefined;
  } catch (error) {
    // Somebody was quicker.
    if (!isApiError(error, "Conflict", "AlreadyExists", "NotFound")) throw error;
    const now = await client.find(leases, name, namespace);
    return now ?? tryTakeLease(options);
  }
}

function leaseOf({ name, namespace, labels, clock }: LeaseOptions, holderIdentity: string): KubeObject {
  const now = microTime(clock());
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name, namespace, labels: { [managedByLabel]: fieldManager, ...labels } },
    spec: { holderIdentity, leaseDurationSeconds: durationSeconds, acquireTime: now, renewTime: now },
  };
}

export interface HoldOptions extends LeaseOptions {
  /** The error of a lease that was lost; `why` is who took it, or what kept it from being renewed. */
  lost: (why: string) => UserError;
  /**
   * When it is lost: when it could not be renewed for its duration, so that another may have it; or only when another has it or
   * somebody removed it, for a person's session that outlives the machine's sleep.
   */
  until: "expired" | "taken";
}

/** Renews a lease that was taken, until it is disposed of. */
export function holdLease(options: HoldOptions): HeldLease {
  const { client, name, namespace, clock } = options;
  const me = identityOf(options.holder);
  const lost = new AbortController();
  const closed = new AbortController();
  const renew = async () => {
    let renewedAt = clock();
    while (!closed.signal.aborted) {
      await sleep(renewMs, closed.signal);
      try {
        const lease = await client.find(leases, name, namespace);
        if (lease === undefined) {
          // Else it went with its namespace: what else is to be lost is not ours.
          if (options.until === "taken") throw options.lost("it was ended from elsewhere");
          return;
        }
        if (lease["spec"]?.holderIdentity !== me) throw options.lost(`${describeHolder(lease)} has it`);
        const spec = { ...lease["spec"], renewTime: microTime(clock()) };
        await client.update(leases, { ...lease, spec }, { fieldManager });
        renewedAt = clock();
      } catch (error) {
        if (error instanceof UserError && error.code === "conflict") throw error;
        const expired = clock() - renewedAt > durationSeconds * 1000;
        if (expired && options.until === "expired") throw options.lost(messageOf(error));
      }
    }
  };
  const renewing = renew().catch((error: unknown) => {
    if (!closed.signal.aborted) lost.abort(error);
  });
  return {
    signal: lost.signal,
    async [Symbol.asyncDispose]() {
      closed.abort(new Error("released"));
      await renewing;
      await release(options, me);
    },
  };
}

async function release({ client, name, namespace }: LeaseOptions, me: string): Promise<void> {
  try {
    const lease = await client.find(leases, name, namespace);
    const { uid, resourceVersion } = lease?.metadata ?? {};
    if (lease?.["spec"]?.holderIdentity !== me || uid === undefined || resourceVersion === undefined) return;
    await client.delete(leases, name, namespace, {
      preconditions: { uid, resourceVersion },
      signal: AbortSignal.timeout(5000),
    });
  } catch (error) {
    // It runs out by itself, and a cluster that is gone must not hide why the work ended.
    if (!(error instanceof Error)) throw error;
  }
}

/** `user@` and the process: enough to see on the same machine that the holder is gone. */
export function identityOf({ user, host, pid }: Holder): string {
  return `${user}@${processName(host, pid)}`;
}

/** Undefined where it is of another machine. */
function holderRuns(identity: string, host: string): boolean | undefined {
  return isRunning(nameIn(identity), host);
}

function nameIn(identity: string): string {
  return identity.slice(identity.lastIndexOf("@") + 1);
}

/** The process that holds the lease; undefined where it is of another machine. */
export function holdingProcess(lease: KubeObject, host: string): ProcessIdentity | undefined {
  return processOf(nameIn(String(lease["spec"]?.holderIdentity ?? "")), host);
}

/**
 * Whether somebody still has the lease, as one look can tell. A process of this machine has it for as long as it is there: one
 * that was stopped by Ctrl-Z renews nothing, and goes on. Clocks of machines differ, so a lease of another one that has just run
 * out counts as held.
 */
export function isHeld(lease: KubeObject, host: string, now: number): boolean {
  const runs = holderRuns(String(lease["spec"]?.holderIdentity ?? ""), host);
  if (runs !== undefined) return runs;
  return now - Date.parse(String(lease["spec"]?.renewTime ?? "")) < 4 * durationSeconds * 1000;
}

/** `user@host (process 12)`. */
export function describeHolder(lease: KubeObject): string {
  const [who = "somebody", , pid] = String(lease["spec"]?.holderIdentity ?? "").split("/");
  return pid === undefined ? who : `${who} (process ${pid})`;
}

/** RFC 3339, in seconds. */
export function heldSince(lease: KubeObject): string {
  return String(lease["spec"]?.acquireTime ?? "").replace(/\.\d+Z$/, "Z");
}

/** metav1.MicroTime. */
function microTime(now: number): string {
  return new Date(now).toISOString().replace("Z", "000Z");
}
