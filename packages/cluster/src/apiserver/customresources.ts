/**
 * The life of CustomResourceDefinitions: serving what they define as soon as they are stored, saying so in their conditions,
 * and removing the instances before the definition. It works from the storage's own events, so that it sees each change
 * once, in order, whoever made it.
 */
import { messageOf } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { isApiError } from "@kws/kube/status";
import { clone, StorageError, type StoreEvent } from "../storage/stored.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { deleteObject } from "./deletion.ts";
import { cleanupFinalizer as finalizer, definitionsTable as table } from "./definitions.ts";
import { tableOf } from "./registry.ts";
import { fromCustomResourceDefinition } from "./resources/index.ts";
import { structuralSchema } from "./schema/index.ts";

const user = { name: "system:apiserver", groups: ["system:masters"] };

interface Version {
  name: string;
  served: boolean;
  schema?: { openAPIV3Schema?: object };
}

interface Condition {
  type: string;
  status: "True" | "False";
  reason: string;
  message: string;
  lastTransitionTime: string;
}

/** Serves what is stored, then follows changes. The answer ends it. */
export function serveCustomResources(context: ServerContext, onGone: (crd: KubeObject) => void): () => void {
  const { store, registry, logger } = context;
  const stops = new Map<string, () => void>();
  const attempt = (name: string, work: () => Promise<void>): void => {
    work().catch((error: unknown) => {
      if (error instanceof StorageError || isApiError(error, "NotFound", "Conflict")) return;
      logger.error("custom resource definition failed", { name, error: String(error) });
    });
  };
  const settle = (crd: KubeObject): void => {
    const { name } = crd.metadata;
    if (crd.metadata.deletionTimestamp !== undefined) {
      if (!stops.has(name))
        stops.set(
          name,
          emptyThenRelease(context, crd, (work) => attempt(name, work)),
        );
    } else if (!isEstablished(crd)) {
      attempt(name, () => establish(context, name));
    }
  };
  const onEvent = ({ type, current, previous }: StoreEvent): void => {
    const crd = current.object;
    const { name } = crd.metadata;
    if (type === "DELETED") {
      stops.get(name)?.();
      stops.delete(name);
      unregister(context, name);
      onGone(crd);
      return;
    }
    if (
      previous === undefined ||
      previous.object.metadata.generation !== crd.metadata.generation ||
      isEstablished(previous.object) !== isEstablished(crd)
    ) {
      register(context, crd);
      if (previous !== undefined && isEstablished(previous.object)) onGone(crd);
    } else {
      register(context, crd);
    }
    settle(crd);
  };
  for (const { object } of store.list(table)) {
    register(context, object);
    settle(object);
  }
  const unsubscribe = store.watch(table, store.revision, onEvent);
  return () => {
    unsubscribe();
    for (const stop of stops.values()) stop();
    for (const { metadata } of store.list(table).map((one) => one.object))
      registry.removeCustom(metadata.name);
  };
}

function isEstablished(crd: KubeObject): boolean {
  return ((crd.status?.conditions ?? []) as Condition[]).some(
    ({ type, status }) => type === "Established" && status === "True",
  );
}

function register(context: ServerContext, crd: KubeObject): void {
  if (!isEstablished(crd)) return;
  unregister(context, crd.metadata.name);
  try {
    serveVersions(context, crd);
  } catch (error) {
    // One definition that makes no sense must not take the server with it, now and at every start.
    unregister(context, crd.metadata.name);
    context.logger.error("cannot serve a custom resource", {
      definition: crd.metadata.name,
      error: messageOf(error),
    });
  }
}

function serveVersions(context: ServerContext, crd: KubeObject): void {
  const definitions = fromCustomResourceDefinition(crd);
  const { group, names } = crd.spec as { group: string; names: { kind: string } };
  for (const { name: version, served, schema } of crd.spec.versions as Version[]) {
    if (!served) continue;
    const shape = structuralSchema(
      schema?.openAPIV3Schema ?? { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    );
    context.registry.types.set({ group, version, kind: names.kind }, shape);
  }
  context.registry.setCustom(crd, definitions);
}

function unregister({ registry }: ServerContext, name: string): void {
  for (const { group, version, kind } of registry.removeCustom(name))
    registry.types.delete({ group, version, kind });
}

/** Accepts the names and says so; where another resource has them already, says that. */
async function establish(context: ServerContext, name: string): Promise<void> {
  const live = context.store.latest(table, name);
  if (
    live === undefined ||
    live.object.metadata.deletionTimestamp !== undefined ||
    isEstablished(live.object)
  )
    return;
  const crd = clone(live);
  const { group, names, versions } = crd.spec as {
    group: string;
    names: Record<string, unknown> & { plural: string; kind: string };
    versions: (Version & { storage: boolean })[];
  };
  const now = timestamp(context.now());
  const taken = namesTaken(context, name, group, names);
  const accepted: Condition = {
    type: "NamesAccepted",
    status: taken === undefined ? "True" : "False",
    reason: taken === undefined ? "NoConflicts" : "NamesConflict",
    message: taken ?? "no conflicts found",
    lastTransitionTime: now,
  };
  const established: Condition = {
    type: "Established",
    status: taken === undefined ? "True" : "False",
    reason: taken === undefined ? "InitialNamesAccepted" : "NotAccepted",
    message: taken === undefined ? "the initial names have been accepted" : "not all names are accepted",
    lastTransitionTime: now,
  };
  const kept = ((crd.status?.conditions ?? []) as Condition[]).filter(
    ({ type }) => type !== "NamesAccepted" && type !== "Established",
  );
  const previous = ((crd.status?.conditions ?? []) as Condition[]).find(
    ({ type }) => type === "NamesAccepted",
  );
  if (previous?.status === "False" && taken !== undefined) return;
  const storage = versions.find((one) => one.storage)?.name;
  const stored = new Set([
    ...((crd.status?.storedVersions ?? []) as string[]),
    ...(storage === undefined ? [] : [storage]),
  ]);
  crd.status = {
    ...crd.status,
    conditions: [...kept, accepted, established],
    acceptedNames: taken === undefined ? names : { plural: "", kind: "" },
    storedVersions: [...stored],
  };
  await context.store.update(table, name, crd, live.revision);
}

function namesTaken(
  { registry }: ServerContext,
  crdName: string,
  group: string,
  { plural, kind }: { plural: string; kind: string },
): string | undefined {
  for (const definition of registry.definitions()) {
    if (
      definition.group !== group ||
      registry.customResourceDefinition(definition)?.metadata.name === crdName
    )
      continue;
    if (definition.resource === plural) return `"${plural}" is already in use`;
    if (definition.kind === kind) return `"${kind}" is already in use`;
  }
  return undefined;
}

/** Deletes the instances and lets the definition go when none is left, also those that finalizers hold for a while. */
function emptyThenRelease(
  context: ServerContext,
  crd: KubeObject,
  attempt: (work: () => Promise<void>) => void,
): () => void {
  const { store } = context;
  const definition = fromCustomResourceDefinition(crd)[0];
  const { name } = crd.metadata;
  const release = (): void => {
    attempt(async () => {
      const live = store.latest(table, name);
      if (live === undefined) return;
      const object = clone(live);
      const finalizers = (object.metadata.finalizers ?? []).filter((one) => one !== finalizer);
      if (finalizers.length === object.metadata.finalizers?.length) return;
      object.metadata.finalizers = finalizers;
      if (finalizers.length === 0) await store.delete(table, name, live.revision, object);
      else await store.update(table, name, object, live.revision);
    });
  };
  if (definition === undefined) {
    release();
    return () => {};
  }
  const instances = tableOf(definition);
  const stop = store.watch(instances, store.revision, () => {
    if (store.list(instances).length === 0) release();
  });
  if (store.list(instances).length === 0) release();
  for (const { key } of store.list(instances)) {
    attempt(async () => {
      await deleteObject(context, definition, key, { dryRun: false }, user);
    });
  }
  return stop;
}
