/** Removing a stack: its releases in reverse order, their volumes, and the namespace that kws made for them. */
import { UserError } from "@kws/base/errors";
import { retry } from "@kws/base/retry";
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import { jobs, namespaces, persistentVolumeClaims } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { type GraphNode, waves } from "../project/graph.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, managedByLabel, stackLabel } from "../services/labels.ts";
import { listReleases, type Release } from "../services/releases.ts";
import { hookJobs, type NamespaceObjects, readNamespace } from "../services/workloads.ts";
import { claimsOf, keepClaim, removeClaim } from "./claims.ts";
import { uninstall } from "./helm.ts";
import type { Holder } from "../services/lease.ts";
import { lockStack } from "./lock.ts";
import { dropFromRecord, forgetStack, listRecords } from "./record.ts";

export interface RemoveStackOptions extends RemoveOptions {
  /** Only what is in it. */
  namespace?: string;
}

export interface RemoveServicesOptions extends RemoveOptions {
  namespace: string;
  services: string[];
}

interface RemoveOptions {
  stack: string;
  /** Volumes and the namespace stay. */
  keepData: boolean;
  /** The workspace's dependencies where it is at hand; the order is free otherwise. */
  graph: GraphNode[];
  connection: Connection;
  helm: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  steps: Steps;
  signal: AbortSignal;
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Who runs this, for the lock. */
  holder: Holder;
}

export interface RemovedStack {
  stack: string;
  services: string[];
  namespaces: string[];
  keptData: boolean;
}

interface Scope {
  stack: string;
  namespace?: string | undefined;
  keepData: boolean;
  signal: AbortSignal;
}

interface Found {
  releases: Release[];
  /** Namespaces that kws made. */
  owned: string[];
  /** Namespaces in which the stack was begun. */
  begun: string[];
}

async function findAll(client: KubeClient, scope: Scope): Promise<Found> {
  const { stack, namespace, signal } = scope;
  const isMeant = (name: string) => namespace === undefined || name === namespace;
  const [releases, records, made] = await Promise.all([
    listReleases(client, { stack, signal }),
    listRecords(client, { stack, signal }),
    client.list(namespaces, undefined, {
      labelSelector: `${stackLabel}=${stack},${managedByLabel}=${fieldManager}`,
      signal,
    }),
  ]);
  return {
    releases: releases.filter((release) => isMeant(release.namespace)),
    owned: made.items.map(({ metadata }) => metadata.name).filter(isMeant),
    begun: records.map((record) => record.namespace).filter(isMeant),
  };
}

/** What a removal would take away. */
export async function findStackObjects(
  client: KubeClient,
  scope: Scope,
): Promise<{ services: string[]; namespaces: string[]; volumes: string[] }> {
  const { releases, owned } = await findAll(client, scope);
  const claims = scope.keepData
    ? []
    : await Promise.all(owned.map(async (space) => (await client.list(persistentVolumeClaims, space)).items));
  return {
    services: releases.map((release) => release.service),
    namespaces: scope.keepData ? [] : owned,
    volumes: claims.flat().map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
  };
}

/** Nothing to remove is `not-found`. */
export async function removeStack(options: RemoveStackOptions): Promise<RemovedStack> {
  const { connection, stack, signal, steps } = options;
  const { client } = connection;
  const { releases, owned, begun } = await findAll(client, options);
  const spaces = [...new Set([...releases.map((release) => release.namespace), ...begun, ...owned])];
  if (releases.length === 0 && begun.length === 0 && (owned.length === 0 || options.keepData)) {
    throw await notInstalled(client, options);
  }
  const [home = stack] = spaces;
  await using _lock = await lockStack({ ...options, client, namespace: home });
  const objects = new Map<string, NamespaceObjects>();
  for (const space of spaces) objects.set(space, await readNamespace(client, space, signal));

  await uninstallAll(releases, options);
  for (const space of spaces) {
    const seen = objects.get(space);
    const here = releases.filter((release) => release.namespace === space);
    if (!options.keepData && owned.includes(space)) {
      await steps.run({ id: `namespace ${space}`, title: `remove the namespace ${space}` }, () =>
        removeNamespace(options, space),
      );
    } else if (seen !== undefined) {
      await removeLeftovers(options, space, here, seen);
      await forgetStack(client, stack, space);
    }
  }
  const removed = options.keepData ? [] : owned;
  return {
    stack,
    services: releases.map((release) => release.service),
    namespaces: removed,
    keptData: options.keepData,
  };
}

/** In no namespace, or not in the one that was named. */
async function notInstalled(client: KubeClient, options: Scope): Promise<UserError> {
  const { stack, namespace } = options;
  const { releases, owned, begun } = await findAll(client, { ...options, namespace: undefined });
  const elsewhere = new Set([...releases.map((release) => release.namespace), ...begun, ...owned]);
  if (namespace !== undefined) elsewhere.delete(namespace);
  const [first] = elsewhere;
  if (namespace === undefined || first === undefined) {
    return new UserError(`the stack ${stack} is not installed`, {
      code: "not-found",
      fix: "See `kws stack list`.",
    });
  }
  return new UserError(
    `the stack ${stack} is not installed in the namespace ${namespace}, but in ${[...elsewhere].join(", ")}`,
    { code: "not-found", fix: `Name it: -n ${first}; or leave out -n, for all of them.` },
  );
}

export interface RemovedServices {
  stack: string;
  namespace: string;
  services: string[];
  /** Claims that are gone with their data, or were kept. */
  volumes: string[];
  keptData: boolean;
}

/** Some services of a stack, which goes on without them. Those that are not installed are only no longer wanted. */
export async function removeServices(options: RemoveServicesOptions): Promise<RemovedServices> {
  const { connection, stack, namespace, services, signal } = options;
  const { client } = connection;
  await using _lock = await lockStack({ ...options, client });
  const all = await listReleases(client, { stack, signal });
  const releases = all.filter((one) => one.namespace === namespace && services.includes(one.service));
  const shared = releases.find(({ parts }) => parts.length > 0);
  if (shared !== undefined) {
    throw new UserError(`${shared.service} is held by the release ${shared.release} of a manifest`, {
      code: "conflict",
      fix: `Remove the whole stack with \`kws stack remove ${stack}\`, or stop the service with \`kws service scale ${shared.service} 0\`.`,
    });
  }
  const seen = await readNamespace(client, namespace, signal);
  await uninstallAll(releases, options);
  const named = services.map(
    (service) =>
      releases.find((one) => one.service === service) ?? { service, release: service, workspace: "" },
  );
  const volumes = await removeLeftovers(options, namespace, named, seen);
  await dropFromRecord(client, { stack, namespace, services, signal });
  return {
    stack,
    namespace,
    services: releases.map(({ service }) => service),
    volumes,
    keptData: options.keepData,
  };
}

async function uninstallAll(releases: Release[], options: RemoveOptions): Promise<void> {
  // One that holds several services goes once.
  const own = new Map(releases.map((release) => [`${release.namespace}/${release.release}`, release]));
  for (const wave of reverseOrder([...own.values()], options.graph)) {
    await Promise.all(
      wave.map(({ release, namespace }) =>
        options.steps.run({ id: `remove ${release}`, title: `remove ${release}` }, () =>
          uninstall({
            ...options,
            kubeconfig: options.connection.kubeconfig,
            namespace,
            release,
          }),
        ),
      ),
    );
  }
}

/** What depends on others goes first. */
function reverseOrder(releases: Release[], graph: GraphNode[]): Release[][] {
  const nodes = releases.map(
    ({ service }) => graph.find((node) => node.name === service) ?? { name: service, dependsOn: [] },
  );
  return waves(nodes)
    .toReversed()
    .map((names) => releases.filter((release) => names.includes(release.service)));
}

async function removeNamespace(options: RemoveStackOptions, name: string): Promise<void> {
  const { client } = options.connection;
  await ignoreMissing(client.delete(namespaces, name, undefined, { signal: options.signal }));
  const pause = {
    delayMs: 50,
    maxDelayMs: 500,
    attempts: Math.ceil(options.timeoutMs / 500),
    signal: options.signal,
  };
  await retry(
    async () => {
      if ((await client.find(namespaces, name)) === undefined) return;
      throw new UserError(`the namespace ${name} is still being removed`, {
        code: "timeout",
        fix: "See what holds it with `kubectl describe namespace`.",
      });
    },
    { ...pause, retryable: (error) => error instanceof UserError && error.code === "timeout" },
  );
}

/**
 * In a namespace that stays: hook Jobs, which Helm leaves, and the claims of StatefulSets, which Kubernetes leaves. Answers the
 * claims' names. Those that are kept are labelled, to be known later.
 */
async function removeLeftovers(
  options: RemoveOptions,
  namespace: string,
  releases: Pick<Release, "service" | "release" | "workspace">[],
  seen: NamespaceObjects,
): Promise<string[]> {
  const { client } = options.connection;
  const services = releases.map(({ service }) => service);
  for (const job of releases.flatMap(({ service, release }) => hookJobs(seen, service, release))) {
    await ignoreMissing(
      client.delete(jobs, job.metadata.name, namespace, { propagationPolicy: "Background" }),
    );
  }
  const claims = await claimsOf(client, { ...options, namespace, services, seen });
  for (const { service, claim } of claims) {
    const workspace = releases.find((one) => one.service === service)?.workspace ?? "";
    const place = { stack: options.stack, namespace, service, workspace, claim };
    await ignoreMissing(options.keepData ? keepClaim(client, place) : removeClaim(client, place));
  }
  return claims.map(({ claim }) => claim);
}

async function ignoreMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}
