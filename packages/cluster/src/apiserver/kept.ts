/**
 * Which parts of a stored object a write leaves as they are, whatever it says: what the server owns, what belongs to other
 * endpoints; and when nothing is left to write.
 */
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "@kws/kube/object";
import type { ServerContext } from "./context.ts";
import { conflict } from "./failures.ts";
import type { ResourceDefinition } from "./resources/resource.ts";

/** Throws `Conflict` for an object that has been replaced or changed meanwhile. */
export function checkIdentity(definition: ResourceDefinition, old: KubeObject, object: KubeObject): void {
  const { name, uid } = old.metadata;
  const { resourceVersion } = object.metadata;
  if (object.metadata.uid && object.metadata.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${object.metadata.uid}, UID in object meta: ${uid}`;
    throw conflict(definition, name, why);
  }
  if (resourceVersion && resourceVersion !== "0" && resourceVersion !== old.metadata.resourceVersion) {
    throw conflict(definition, name);
  }
}

/** Metadata that only the server sets. */
export function keepServerFields(old: KubeObject, object: KubeObject): void {
  const { metadata } = object;
  metadata.name = old.metadata.name;
  const fields = [
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
  ] as const;
  for (const field of fields) {
    if (old.metadata[field] === undefined) delete metadata[field];
    else Object.assign(metadata, { [field]: old.metadata[field] });
  }
  if (metadata.generateName === undefined && old.metadata.generateName !== undefined) {
    metadata.generateName = old.metadata.generateName;
  }
}

/** Where status has an endpoint of its own, the other one does not write it. */
export function keepStatus(old: KubeObject, object: KubeObject): void {
  if (old.status === undefined) delete object.status;
  else object.status = old.status;
}

/** Writes of `status` change nothing else; as upstream, built-in kinds take annotations along. */
export function keepAllButStatus(
  context: ServerContext,
  definition: ResourceDefinition,
  old: KubeObject,
  object: KubeObject,
): void {
  for (const field of new Set([...Object.keys(old), ...Object.keys(object)])) {
    if (field === "status" || field === "metadata") continue;
    if (old[field] === undefined) delete object[field];
    else object[field] = old[field];
  }
  const { managedFields, annotations, labels, finalizers } = object.metadata;
  const custom = context.registry.customResourceDefinition(definition) !== undefined;
  object.metadata = { ...old.metadata };
  if (managedFields !== undefined) object.metadata.managedFields = managedFields;
  if (custom) return;
  const keepsLabels = definition.group === "apps";
  const taken = { annotations, finalizers, ...(keepsLabels ? {} : { labels }) };
  for (const [field, value] of Object.entries(taken)) {
    if (value === undefined) delete object.metadata[field as "labels"];
    else Object.assign(object.metadata, { [field]: value });
  }
}

/** `pods/ephemeralcontainers` and `pods/resize` write one part of the spec. */
export function keepAllButPart(
  subresource: "ephemeralcontainers" | "resize",
  old: KubeObject,
  object: KubeObject,
): void {
  const field = subresource === "resize" ? "containers" : "ephemeralContainers";
  const part: unknown = object.spec?.[field];
  const { managedFields } = object.metadata;
  Object.assign(object, structuredClone(old));
  object.metadata.managedFields = managedFields;
  if (part !== undefined) object.spec[field] = part;
}

/** The generation counts changes of all but metadata and status. */
export function bumpGeneration(old: KubeObject, object: KubeObject): void {
  const desired = ({ metadata: _metadata, status: _status, ...rest }: KubeObject): object => rest;
  if (isDeepStrictEqual(desired(old), desired(object))) return;
  object.metadata.generation = (old.metadata.generation ?? 0) + 1;
}

/** The last finalizer is gone from an object whose deletion was asked for. */
export function isFinished(definition: ResourceDefinition, object: KubeObject, old: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  if (deletionTimestamp === undefined || finalizers.length > 0) return false;
  if (definition.group === "" && definition.resource === "namespaces") {
    return ((object.spec?.finalizers ?? []) as string[]).length === 0;
  }
  // Where nothing held it before, something else (a kubelet, within the grace period) ends it.
  return deletionGracePeriodSeconds === 0 && (old.metadata.finalizers ?? []).length > 0;
}

/** As upstream: a write that changes nothing, or only the times in managedFields, is no write. */
export function isUnchanged(old: KubeObject, object: KubeObject): boolean {
  const comparable = (one: KubeObject): object => ({
    ...one,
    metadata: {
      ...one.metadata,
      managedFields: one.metadata.managedFields?.map(({ time: _time, ...entry }) => entry),
    },
  });
  return isDeepStrictEqual(
    JSON.parse(JSON.stringify(comparable(old))),
    JSON.parse(JSON.stringify(comparable(object))),
  );
}
