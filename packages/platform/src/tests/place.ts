/**
 * Where a suite runs: a namespace of its own, or that of a running stack. Whoever runs it holds a Lease there, so that what a
 * killed kws left behind is known and removed by the next one.
 */
import { UserError } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases, namespaces, pods, secrets } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { GraphNode } from "../project/graph.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, managedByLabel, stackLabel, testLabel, workspaceLabel } from "../services/labels.ts";
import { type Holder, holdLease, isHeld, tryTakeLease } from "../services/lease.ts";
import { removeStack } from "../stacks/remove.ts";
import { suiteName, type TestSuite } from "./levels.ts";

/** On a namespace: when the next run may remove it, RFC 3339, though nobody is at work in it. */
const keepAnnotation = "kws.dev/keep-until";
const keepMs = 24 * 3_600_000;
/** One that has just been made has no Lease yet. */
const youngMs = 60_000;
const removalMs = 120_000;
const leaseName = "kws-test";

export interface PlaceOptions {
  connection: Connection;
  /** The workspace's name. */
  workspace: string;
  /** The path of the program. */
  helm: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  steps: Steps;
  signal: AbortSignal;
  /** Milliseconds since the epoch. */
  clock: () => number;
  holder: Holder;
}

export interface Place extends AsyncDisposable {
  namespace: string;
  /** The suite's pod, whose name nothing else there has. */
  pod: string;
  /** The Secret with what its pods alone know. */
  secret: string;
  /** Aborts where somebody else took the place. */
  signal: AbortSignal;
}

/** A new namespace, which goes with what is in it when the place is disposed of; unless it is to be kept for a day. */
export async function freshPlace(
  suite: TestSuite,
  options: PlaceOptions & { keep: boolean; graph: GraphNode[]; suffix: string },
): Promise<Place> {
  const { connection, workspace, keep, clock, signal, suffix } = options;
  const name = `test-${suite.service.name.slice(0, 40)}-${suffix}`;
  const until = new Date(clock() + keepMs).toISOString();
  const labels = {
    [managedByLabel]: fieldManager,
    [stackLabel]: name,
    [workspaceLabel]: workspace,
    [testLabel]: suite.level,
  };
  const metadata = { name, labels, ...(keep ? { annotations: { [keepAnnotation]: until } } : {}) };
  const object = { apiVersion: "v1", kind: "Namespace", metadata };
  await connection.client.create(namespaces, object, { fieldManager, signal });
  const remove = () => removeSpace(name, options);
  try {
    const held = await hold(suite, leaseName, name, options);
    return {
      namespace: name,
      pod: "tests",
      secret: "tests",
      signal: held.signal,
      async [Symbol.asyncDispose]() {
        try {
          if (!keep) await remove();
        } finally {
          await held[Symbol.asyncDispose]();
        }
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** In the namespace of a running stack, of which nothing is changed. */
export async function sharedPlace(
  suite: TestSuite,
  namespace: string,
  options: PlaceOptions & { suffix: string; secret?: string },
): Promise<Place> {
  const pod = `test-${suite.service.name}-${options.suffix}`;
  const held = await hold(suite, pod, namespace, options);
  return {
    namespace,
    pod,
    secret: options.secret ?? pod,
    signal: held.signal,
    async [Symbol.asyncDispose]() {
      try {
        await removePod(options.connection.client, pod, namespace);
      } finally {
        await held[Symbol.asyncDispose]();
      }
    },
  };
}

async function hold(suite: TestSuite, name: string, namespace: string, options: PlaceOptions) {
  const labels = { [testLabel]: suite.level };
  const lease = { ...options, client: options.connection.client, name, namespace, labels };
  const other = await tryTakeLease(lease);
  if (other !== undefined) throw new Error(`the new lease ${name} in ${namespace} is held already`);
  return holdLease({
    ...lease,
    until: "expired",
    lost: (why) =>
      new UserError(`the namespace of the tests ${suiteName(suite)} was lost: ${why}`, {
        code: "conflict",
        fix: "Run them again.",
      }),
  });
}

/** Removes what runs left behind that are no more: killed ones, and those that kept theirs, when their day is over. */
export async function sweep(options: PlaceOptions): Promise<void> {
  const { connection, clock, holder, signal } = options;
  const { client } = connection;
  const [spaces, held] = await Promise.all(
    [namespaces, leases].map((resource) =>
      client.list(resource, undefined, {
        labelSelector: `${managedByLabel}=${fieldManager},${testLabel}`,
        signal,
      }),
    ),
  );
  const now = clock();
  const isLive = (lease: KubeObject) => isHeld(lease, holder.host, now);
  const own = spaces?.items ?? [];
  const dead = own.filter((space) => {
    const { name, annotations, deletionTimestamp, creationTimestamp = "" } = space.metadata;
    if (deletionTimestamp !== undefined) return false;
    const until = annotations?.[keepAnnotation];
    if (until !== undefined && Date.parse(until) > now) return false;
    const lease = held?.items.find(({ metadata }) => metadata.namespace === name);
    return lease === undefined ? now - Date.parse(creationTimestamp) > youngMs : !isLive(lease);
  });
  for (const { metadata } of dead) await removeSpace(metadata.name, { ...options, graph: [] });
  for (const lease of held?.items ?? []) {
    const { name, namespace = "" } = lease.metadata;
    if (isLive(lease) || own.some((space) => space.metadata.name === namespace)) continue;
    await removePod(client, name, namespace);
    await ignoreMissing(client.delete(leases, name, namespace));
  }
}

/** With its releases first, since charts may have made what is in no namespace. Goes on after Ctrl-C. */
async function removeSpace(name: string, options: PlaceOptions & { graph: GraphNode[] }): Promise<void> {
  try {
    await removeStack({
      ...options,
      stack: name,
      namespace: name,
      keepData: false,
      signal: AbortSignal.timeout(removalMs),
      timeoutMs: removalMs,
    });
  } catch (error) {
    // Somebody was quicker.
    if (!(error instanceof UserError && error.code === "not-found")) throw error;
  }
}

/** With the Secret of its name. */
async function removePod(client: KubeClient, name: string, namespace: string): Promise<void> {
  const signal = AbortSignal.timeout(removalMs);
  await ignoreMissing(client.delete(pods, name, namespace, { signal }));
  await ignoreMissing(client.delete(secrets, name, namespace, { signal }));
}

async function ignoreMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}
