/**
 * Deletes what nobody owns any more, and carries out the three ways of deleting an owner: background (dependents follow),
 * foreground (dependents that block go first) and orphan (dependents stay and forget). Knows every deletable resource,
 * those of CustomResourceDefinitions as they appear. Rules of
 * https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and pkg/controller/garbagecollector upstream.
 */
import { messageOf } from "@kws/base/errors";
import type { Resource } from "@kws/kube/client";
import { runController, type Request } from "@kws/kube/controller";
import type { Informer } from "@kws/kube/informer";
import { parseApiVersion, type KubeObject, type OwnerReference } from "@kws/kube/object";
import { WorkQueue } from "@kws/kube/queue";
import { customResourceDefinitions } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import type { ControllerContext } from "./context.ts";
import { discover, type DiscoveredResource } from "./discovery.ts";

const foreground = "foregroundDeletion";
const orphan = "orphan";

interface Monitor {
  resource: DiscoveredResource;
  informer: Informer;
  end: () => void;
}

/** Resolves when all resources that exist now are watched. */
export async function startGarbageCollector(ctx: ControllerContext): Promise<void> {
  const { client, informers, logger, signal } = ctx;
  const queue = new WorkQueue();
  const monitors = new Map<string, Monitor>();
  /** uids that the server said are gone; an owner never comes back with its uid. */
  const gone = new Set<string>();
  const crds = informers.of(customResourceDefinitions);

  let refreshing: Promise<void> | undefined;
  let again = false;
  const refresh = (): Promise<void> => {
    if (refreshing !== undefined) {
      again = true;
      return refreshing;
    }
    refreshing = updateMonitors()
      .catch((error: unknown) => {
        if (!signal.aborted)
          logger.warn("garbage collector could not discover resources", { error: messageOf(error) });
      })
      .finally(() => {
        refreshing = undefined;
        if (again && !signal.aborted) {
          again = false;
          void refresh();
        }
      });
    return refreshing;
  };

  await crds.synced();
  crds.subscribe({
    update: (crd, old) => {
      if (isEstablished(crd) !== isEstablished(old)) void refresh();
    },
    add: (crd) => {
      if (isEstablished(crd)) void refresh();
    },
    delete: () => void refresh(),
  });
  await refresh();
  void runController({ name: "garbage-collector", queue, reconcile, concurrency: 10, logger, signal });

  async function updateMonitors(): Promise<void> {
    const found = await discover(client, signal);
    const wanted = found.filter(
      ({ verbs, resource }) =>
        resource !== "events" && ["list", "watch", "delete"].every((verb) => verbs.includes(verb)),
    );
    const names = new Set(wanted.map(nameOf));
    for (const [name, monitor] of monitors) {
      if (names.has(name)) continue;
      monitor.end();
      informers.drop(monitor.resource);
      monitors.delete(name);
    }
    const added = wanted.filter((resource) => !monitors.has(nameOf(resource)));
    await Promise.all(added.map((resource) => addMonitor(resource)));
  }

  async function addMonitor(resource: DiscoveredResource): Promise<void> {
    const name = nameOf(resource);
    const informer = informers.metadataOf(resource);
    informer.addIndex("uid", (object) => [object.metadata.uid ?? ""]);
    const add = (object: KubeObject): void => {
      queue.add(`${name}|${object.metadata.namespace ?? ""}/${object.metadata.name}`);
    };
    const end = informer.subscribe({
      add: (object) => {
        if (needsLook(object)) add(object);
      },
      update(object, old) {
        if (!changesOwnership(object, old)) return;
        add(object);
        wakeRelatives(old);
        wakeRelatives(object);
      },
      delete(object) {
        if (object.metadata.uid !== undefined) remember(object.metadata.uid);
        for (const dependent of dependentsOf(object)) enqueue(dependent);
        wakeOwners(object);
      },
    });
    monitors.set(name, { resource, informer, end });
    await informer.synced();
  }

  function enqueue({ monitor, object }: Found): void {
    queue.add(`${nameOf(monitor.resource)}|${object.metadata.namespace ?? ""}/${object.metadata.name}`);
  }

  /** An owner that waits for its dependents looks again when one of them changes. */
  function wakeOwners(object: KubeObject): void {
    for (const { uid } of object.metadata.ownerReferences ?? []) {
      const owner = byUid(uid);
      if (owner !== undefined && isWaiting(owner.object)) enqueue(owner);
    }
  }

  function wakeRelatives(object: KubeObject): void {
    wakeOwners(object);
    if (isWaiting(object)) for (const dependent of dependentsOf(object)) enqueue(dependent);
  }

  interface Found {
    monitor: Monitor;
    object: KubeObject;
  }

  function dependentsOf(object: KubeObject): Found[] {
    const { uid } = object.metadata;
    return [...monitors.values()].flatMap((monitor) =>
      monitor.informer.ownedBy(uid).map((dependent) => ({ monitor, object: dependent })),
    );
  }

  function byUid(uid: string): Found | undefined {
    for (const monitor of monitors.values()) {
      const [object] = monitor.informer.byIndex("uid", uid);
      if (object !== undefined) return { monitor, object };
    }
    return undefined;
  }

  async function reconcile({ namespace: scope = "", name }: Request): Promise<void> {
    const bar = scope.indexOf("|");
    const monitor = monitors.get(scope.slice(0, bar));
    const namespace = scope.slice(bar + 1);
    const object = monitor?.informer.get(name, namespace === "" ? undefined : namespace);
    if (monitor === undefined || object === undefined) return;
    if (object.metadata.deletionTimestamp !== undefined) {
      if (hasFinalizer(object, orphan)) await orphanDependents(monitor, object);
      else if (hasFinalizer(object, foreground)) await deleteForeground(monitor, object);
      return;
    }
    await collect(monitor, object);
  }

  /** Decides by its owners whether the object stays. */
  async function collect(monitor: Monitor, object: KubeObject): Promise<void> {
    const owners = object.metadata.ownerReferences ?? [];
    if (owners.length === 0) return;
    const solid: OwnerReference[] = [];
    const waiting: OwnerReference[] = [];
    const dangling: OwnerReference[] = [];
    for (const owner of owners) {
      const state = await stateOf(owner, object);
      if (state === "gone") dangling.push(owner);
      else if (state === "waiting" && owner.blockOwnerDeletion === true) waiting.push(owner);
      else solid.push(owner);
    }
    if (solid.length > 0) {
      if (solid.length < owners.length) await setOwners(monitor.resource, object, solid);
      return;
    }
    const blocks = waiting.length > 0 && dependentsOf(object).length > 0;
    const policy = blocks || hasFinalizer(object, foreground) ? "Foreground" : "Background";
    await remove(monitor.resource, object, hasFinalizer(object, orphan) ? "Orphan" : policy);
  }

  async function stateOf(
    owner: OwnerReference,
    dependent: KubeObject,
  ): Promise<"solid" | "waiting" | "gone"> {
    if (gone.has(owner.uid)) return "gone";
    const known = byUid(owner.uid);
    const reachable =
      known !== undefined &&
      known.monitor.resource.kind === owner.kind &&
      (!known.monitor.resource.namespaced ||
        known.object.metadata.namespace === dependent.metadata.namespace);
    if (reachable)
      return isWaiting(known.object) && hasFinalizer(known.object, foreground) ? "waiting" : "solid";
    const live = await lookUp(owner, dependent.metadata.namespace);
    if (live === undefined) {
      if (known === undefined) remember(owner.uid);
      return "gone";
    }
    return isWaiting(live) && hasFinalizer(live, foreground) ? "waiting" : "solid";
  }

  /** The copies may be behind; only the server's word counts before something is deleted. */
  async function lookUp(
    owner: OwnerReference,
    namespace: string | undefined,
  ): Promise<KubeObject | undefined> {
    const { group, version } = parseApiVersion(owner.apiVersion);
    const monitor = [...monitors.values()].find(
      ({ resource }) => resource.group === group && resource.kind === owner.kind,
    );
    if (monitor === undefined) throw new Error(`no resource of kind ${owner.kind} in ${owner.apiVersion}`);
    const { resource, namespaced } = monitor.resource;
    const live = await client.find(
      { group, version, resource, namespaced },
      owner.name,
      namespaced ? namespace : undefined,
    );
    return live?.metadata.uid === owner.uid ? live : undefined;
  }

  async function deleteForeground(monitor: Monitor, object: KubeObject): Promise<void> {
    const blocking = dependentsOf(object).filter(({ object: dependent }) =>
      (dependent.metadata.ownerReferences ?? []).some(
        ({ uid, blockOwnerDeletion }) => uid === object.metadata.uid && blockOwnerDeletion === true,
      ),
    );
    if (blocking.length === 0) {
      await removeFinalizer(monitor.resource, object, foreground);
      return;
    }
    for (const dependent of blocking) {
      if (dependent.object.metadata.deletionTimestamp === undefined) enqueue(dependent);
    }
  }

  async function orphanDependents(monitor: Monitor, object: KubeObject): Promise<void> {
    for (const dependent of dependentsOf(object)) {
      const owners = (dependent.object.metadata.ownerReferences ?? []).filter(
        ({ uid }) => uid !== object.metadata.uid,
      );
      await setOwners(dependent.monitor.resource, dependent.object, owners);
    }
    await removeFinalizer(monitor.resource, object, orphan);
  }

  async function setOwners(resource: Resource, object: KubeObject, owners: OwnerReference[]): Promise<void> {
    const { name, namespace, uid } = object.metadata;
    const patch = { metadata: { uid, ownerReferences: owners.length === 0 ? null : owners } };
    await unlessGone(client.patch(resource, name, namespace, "merge", patch));
  }

  async function removeFinalizer(resource: Resource, object: KubeObject, finalizer: string): Promise<void> {
    const { name, namespace } = object.metadata;
    const fresh = await client.find(resource, name, namespace);
    if (fresh === undefined || fresh.metadata.uid !== object.metadata.uid) return;
    const finalizers = (fresh.metadata.finalizers ?? []).filter((other) => other !== finalizer);
    const { uid, resourceVersion } = fresh.metadata;
    await unlessGone(
      client.patch(resource, name, namespace, "merge", { metadata: { uid, resourceVersion, finalizers } }),
    );
  }

  async function remove(
    resource: Resource,
    object: KubeObject,
    propagationPolicy: "Foreground" | "Background" | "Orphan",
  ): Promise<void> {
    const { name, namespace, uid, resourceVersion } = object.metadata;
    await unlessGone(
      client.delete(resource, name, namespace, {
        propagationPolicy,
        preconditions: { uid, resourceVersion },
      }),
    );
  }

  function remember(uid: string): void {
    gone.add(uid);
    const [oldest] = gone;
    if (gone.size > 10_000 && oldest !== undefined) gone.delete(oldest);
  }
}

function nameOf({ group, resource }: Resource): string {
  return `${resource}.${group}`;
}

function hasFinalizer(object: KubeObject, finalizer: string): boolean {
  return object.metadata.finalizers?.includes(finalizer) ?? false;
}

/** On its way out, but something of ours is to be done first. */
function isWaiting(object: KubeObject): boolean {
  return (
    object.metadata.deletionTimestamp !== undefined &&
    (hasFinalizer(object, foreground) || hasFinalizer(object, orphan))
  );
}

function needsLook(object: KubeObject): boolean {
  return isWaiting(object) || (object.metadata.ownerReferences ?? []).length > 0;
}

/** Status updates are most of the traffic and none of our business. */
function changesOwnership({ metadata }: KubeObject, { metadata: old }: KubeObject): boolean {
  const owners = (list: OwnerReference[] = []): string =>
    list.map(({ uid, blockOwnerDeletion }) => `${uid}${blockOwnerDeletion ? "!" : ""}`).join();
  return (
    metadata.deletionTimestamp !== old.deletionTimestamp ||
    metadata.finalizers?.join() !== old.finalizers?.join() ||
    owners(metadata.ownerReferences) !== owners(old.ownerReferences)
  );
}

function isEstablished(crd: KubeObject): boolean {
  const conditions = (crd["status"]?.conditions ?? []) as { type: string; status: string }[];
  return conditions.some(({ type, status }) => type === "Established" && status === "True");
}

async function unlessGone(request: Promise<unknown>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
}
