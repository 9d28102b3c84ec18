/**
 * One change to a stack at a time: a Lease in its namespace, held and renewed as client-go's leader election does
 * (https://kubernetes.io/docs/concepts/architecture/leases/), so that people on other machines are kept apart as well.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { isGone, processName } from "@kws/base/process";
import { sleep } from "@kws/base/retry";
import type { Steps } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { fieldManager, managedByLabel, stackLabel } from "../services/labels.ts";

/** Who runs this kws. */
export interface Holder {
  user: string;
  host: string;
  pid: number;
}

export interface LockOptions {
  client: KubeClient;
  stack: string;
  namespace: string;
  holder: Holder;
  steps: Steps;
  signal: AbortSignal;
  /** How long to wait for another holder. */
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface StackLock extends AsyncDisposable {
  /** Aborts where somebody else took the lock, because it could not be renewed. */
  signal: AbortSignal;
}

const durationSeconds = 15;
const renewMs = 5000;
const pollMs = 500;

/** Waits while another living kws holds the stack; throws `conflict` with who does after the timeout. */
export async function lockStack(options: LockOptions): Promise<StackLock> {
  const me = identityOf(options.holder);
  const first = await tryTake(options, me);
  if (holderOf(first) === me) return hold(options, first);
  const title = `wait for ${describe(first)}, who changes ${options.stack}`;
  return hold(options, await options.steps.run({ id: "lock", title }, () => waitFor(options, me, first)));
}

async function waitFor(options: LockOptions, me: string, first: KubeObject): Promise<KubeObject> {
  const { clock, signal } = options;
  const deadline = clock() + options.timeoutMs;
  let seen = first.metadata.resourceVersion;
  let seenAt = clock();
  for (;;) {
    await sleep(pollMs, signal);
    // Counted from the last renewal that was seen here: clocks of machines differ.
    const other = await tryTake(options, me, clock() - seenAt > durationSeconds * 1000 ? seen : undefined);
    if (holderOf(other) === me) return other;
    if (other.metadata.resourceVersion !== seen) {
      seen = other.metadata.resourceVersion;
      seenAt = clock();
    }
    if (clock() > deadline) {
      throw new UserError(`${describe(other)} changes the stack ${options.stack} since ${since(other)}`, {
        code: "conflict",
        fix: "Wait until that is done, or end it, and run the same command again.",
      });
    }
  }
}

/** The lease as it is now: taken, or somebody else's. One that is still as in `expired` is taken over. */
async function tryTake(options: LockOptions, me: string, expired?: string): Promise<KubeObject> {
  const { client, namespace, signal } = options;
  const found = await client.find(leases, nameOf(options.stack), namespace);
  try {
    if (found === undefined) {
      return await client.create(leases, leaseOf(options, me), { fieldManager, signal });
    }
    const holder = holderOf(found);
    const free =
      holder === "" ||
      holder === me ||
      isGone(holder.slice(holder.lastIndexOf("@") + 1), options.holder.host);
    if (!free && found.metadata.resourceVersion !== expired) return found;
    const fresh = leaseOf(options, me);
    const metadata = { ...found.metadata, ...fresh.metadata };
    return await client.update(leases, { ...fresh, metadata }, { fieldManager, signal });
  } catch (error) {
    // Somebody was quicker.
    if (!isApiError(error, "Conflict", "AlreadyExists", "NotFound")) throw error;
    const now = await client.find(leases, nameOf(options.stack), namespace);
    return now ?? tryTake(options, me);
  }
}

function leaseOf({ stack, namespace, clock }: LockOptions, holderIdentity: string): KubeObject {
  const now = microTime(clock());
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      name: nameOf(stack),
      namespace,
      labels: { [managedByLabel]: fieldManager, [stackLabel]: stack },
    },
    spec: { holderIdentity, leaseDurationSeconds: durationSeconds, acquireTime: now, renewTime: now },
  };
}

function hold(options: LockOptions, taken: KubeObject): StackLock {
  const { client, namespace, stack, clock } = options;
  const lost = new AbortController();
  const closed = new AbortController();
  const me = holderOf(taken);
  let held = taken;
  const renew = async () => {
    let renewedAt = clock();
    while (!closed.signal.aborted) {
      await sleep(renewMs, closed.signal);
      try {
        const lease = await client.find(leases, nameOf(stack), namespace);
        // It went with its namespace: what else is to be lost is not ours.
        if (lease === undefined) return;
        if (holderOf(lease) !== me) throw lostTo(describe(lease));
        const spec = { ...lease["spec"], renewTime: microTime(clock()) };
        held = await client.update(leases, { ...lease, spec }, { fieldManager });
        renewedAt = clock();
      } catch (error) {
        if (error instanceof UserError && error.code === "conflict") throw error;
        if (clock() - renewedAt > durationSeconds * 1000) throw lostTo(messageOf(error));
      }
    }
  };
  const lostTo = (by: string) =>
    new UserError(`the lock on the stack ${stack} was lost: ${by}`, {
      code: "conflict",
      fix: `Run \`kws stack start ${stack}\` again.`,
    });
  const renewing = renew().catch((error: unknown) => {
    if (!closed.signal.aborted) lost.abort(error);
  });
  return {
    signal: lost.signal,
    async [Symbol.asyncDispose]() {
      closed.abort(new Error("released"));
      await renewing;
      await release(options, held);
    },
  };
}

/** Only where it is still as it was when it was last taken or renewed. */
async function release({ client, stack, namespace }: LockOptions, { metadata }: KubeObject): Promise<void> {
  const { uid = "", resourceVersion = "" } = metadata;
  try {
    await client.delete(leases, nameOf(stack), namespace, {
      preconditions: { uid, resourceVersion },
      signal: AbortSignal.timeout(5000),
    });
  } catch (error) {
    // It runs out by itself, and a cluster that is gone must not hide why the work ended.
    if (!(error instanceof Error)) throw error;
  }
}

function holderOf(lease: KubeObject): string {
  return String(lease["spec"]?.holderIdentity ?? "");
}

function nameOf(stack: string): string {
  return `kws-stack-${stack}`;
}

/** `user@` and the process: enough to see on the same machine that the holder is gone. */
export function identityOf({ user, host, pid }: Holder): string {
  return `${user}@${processName(host, pid)}`;
}

function describe(lease: KubeObject): string {
  const [who = "somebody", , pid] = holderOf(lease).split("/");
  return pid === undefined ? who : `${who} (process ${pid})`;
}

function since(lease: KubeObject): string {
  return String(lease["spec"]?.acquireTime ?? "").replace(/\.\d+Z$/, "Z");
}

/** metav1.MicroTime. */
function microTime(now: number): string {
  return new Date(now).toISOString().replace("Z", "000Z");
}
