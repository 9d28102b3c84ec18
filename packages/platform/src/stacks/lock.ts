/** One change to a stack at a time: a Lease in its namespace. */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { Steps } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { stackLabel } from "../services/labels.ts";
import {
  describeHolder,
  durationSeconds,
  heldSince,
  type HeldLease,
  type Holder,
  holdLease,
  type LeaseOptions,
  tryTakeLease,
} from "../services/lease.ts";

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

const pollMs = 500;

/** Waits while another living kws holds the stack; throws `conflict` with who does after the timeout. */
export async function lockStack(options: LockOptions): Promise<HeldLease> {
  const { stack } = options;
  const lease = { ...options, name: `kws-stack-${stack}`, labels: { [stackLabel]: stack } };
  const first = await tryTakeLease(lease);
  if (first !== undefined) {
    const title = `wait for ${describeHolder(first)}, who changes ${stack}`;
    await options.steps.run({ id: "lock", title }, () => waitFor(options, lease, first));
  }
  return holdLease({
    ...lease,
    until: "expired",
    lost: (why) =>
      new UserError(`the lock on the stack ${stack} was lost: ${why}`, {
        code: "conflict",
        fix: `Run \`kws stack start ${stack}\` again.`,
      }),
  });
}

async function waitFor(options: LockOptions, lease: LeaseOptions, first: KubeObject): Promise<void> {
  const { clock, signal } = options;
  const deadline = clock() + options.timeoutMs;
  let seen = first.metadata.resourceVersion;
  let seenAt = clock();
  for (;;) {
    await sleep(pollMs, signal);
    // Counted from the last renewal that was seen here: clocks of machines differ.
    const other = await tryTakeLease(lease, clock() - seenAt > durationSeconds * 1000 ? seen : undefined);
    if (other === undefined) return;
    if (other.metadata.resourceVersion !== seen) {
      seen = other.metadata.resourceVersion;
      seenAt = clock();
    }
    if (clock() > deadline) {
      throw new UserError(
        `${describeHolder(other)} changes the stack ${options.stack} since ${heldSince(other)}`,
        { code: "conflict", fix: "Wait until that is done, or end it, and run the same command again." },
      );
    }
  }
}
