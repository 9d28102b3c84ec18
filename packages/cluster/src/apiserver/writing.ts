/**
 * What every change of an object goes through on its way to the storage: the fields that the server owns, defaults,
 * admission, validation, field ownership, and a compare-and-swap.
 */
import { randomUUID } from "node:crypto";
import type { KubeObject, ManagedFieldsEntry } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import type { AdmissionContext } from "./admission/index.ts";
import { askOthers } from "./admission/others.ts";
import type { WebhookContext } from "./admission/webhooks.ts";
import { clone, StorageError, type Stored } from "../storage/stored.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { ensureForms, inStorageVersion } from "./conversion.ts";
import { refuseEscalation } from "./escalation.ts";
import { alreadyExists, conflict, invalid, namespaceTerminating, notFound } from "./failures.ts";
import { apiVersionOf, inVersion, storageKey, tableOf, toStored } from "./registry.ts";
import {
  bumpGeneration,
  checkIdentity,
  isFinished,
  isUnchanged,
  keepAllButPart,
  keepAllButStatus,
  keepServerFields,
  keepStatus,
} from "./kept.ts";
import type { User } from "./request.ts";
import { admit, claim, validateMetadata } from "./resources/index.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { applyDefaults, normalize, trackUpdate, validateStructural } from "./schema/index.ts";
import type { ObjectSchema } from "./schema/types.ts";
import { postToWebhook } from "./webhookclient.ts";

/** How a change is to be made. */
export interface WriteMode {
  user: User;
  dryRun: boolean;
  /** Field manager of a change that is not an apply; undefined where the object brings its own managedFields. */
  manager?: string;
  subresource?: string;
  /** Collects what admission says to the client besides. */
  warnings?: string[];
}

/** Kinds whose `metadata.generation` counts changes of the desired state; custom resources are all among them. */
const countsGenerations = new Set([
  "pods",
  "deployments",
  "replicasets",
  "statefulsets",
  "daemonsets",
  "replicationcontrollers",
  "jobs",
  "cronjobs",
  "ingresses",
  "networkpolicies",
  "poddisruptionbudgets",
  "endpointslices",
  "priorityclasses",
  "ingressclasses",
  "mutatingwebhookconfigurations",
  "validatingwebhookconfigurations",
  "validatingadmissionpolicies",
  "validatingadmissionpolicybindings",
  "customresourcedefinitions",
  "flowschemas",
  "prioritylevelconfigurations",
]);

export function schemaOf(context: ServerContext, definition: ResourceDefinition): ObjectSchema | undefined {
  const { group, version, kind } = definition;
  return context.registry.types.get({ group, version, kind });
}

/** Stores a new object; `object` is changed on the way. Throws what a client is to be told. */
export async function createObject(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  mode: WriteMode,
): Promise<Stored> {
  const stored = await storeNew(context, definition, object, mode);
  await ensureForms(context, definition, [stored]);
  return stored;
}

async function storeNew(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  mode: WriteMode,
): Promise<Stored> {
  const { metadata } = object;
  if (metadata.name === undefined || metadata.name === "") {
    if (!metadata.generateName) {
      const cause = { field: "metadata.name", message: "Required value: name or generateName is required" };
      throw invalid(definition, "", [{ reason: "FieldValueRequired", ...cause }]);
    }
    metadata.name = generateName(metadata.generateName);
  }
  checkNamespace(context, definition, metadata);
  metadata.uid = randomUUID();
  metadata.creationTimestamp = timestamp(context.now());
  delete metadata.resourceVersion;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  if (hasGeneration(context, definition)) metadata.generation = 1;
  else delete metadata.generation;
  const crd = context.registry.customResourceDefinition(definition);
  if (crd !== undefined && definition.hasStatus) delete object.status;
  setDefaults(context, definition, object);
  const admission = admissionOf(context, "CREATE", definition, object, undefined, mode);
  await admit(admission);
  await askOthers(admission);
  const broken = (await definition.checkExpressions?.(object)) ?? [];
  claim(admission);
  definition.prepareForCreate?.(object);
  checkObject(context, definition, object, undefined, mode.subresource, broken);
  refuseEscalation(context, definition, object, mode.user);
  if (mode.manager !== undefined) {
    metadata.managedFields = track(context, definition, undefined, object, mode.manager, mode.subresource);
  }
  if (metadata.managedFields?.length === 0) delete metadata.managedFields;
  const key = storageKey(definition, metadata.namespace, metadata.name);
  const table = tableOf(definition);
  if (context.store.latest(table, key) !== undefined) throw alreadyExists(definition, metadata.name);
  const form = inStorage(context, definition, object);
  const stored = form instanceof Promise ? await form : form;
  if (mode.dryRun) return unstored(key, stored);
  try {
    return await context.store.create(table, key, stored);
  } catch (error) {
    throw translated(error, definition, metadata.name);
  }
}

/** Replaces `live` by `object`, which is changed on the way. Throws what a client is to be told. */
export async function replaceObject(
  context: ServerContext,
  definition: ResourceDefinition,
  live: Stored,
  object: KubeObject,
  mode: WriteMode,
): Promise<Stored> {
  await ensureForms(context, definition, [live]);
  const stored = await storeChanged(context, definition, live, object, mode);
  await ensureForms(context, definition, [stored]);
  return stored;
}

async function storeChanged(
  context: ServerContext,
  definition: ResourceDefinition,
  live: Stored,
  object: KubeObject,
  mode: WriteMode,
): Promise<Stored> {
  const old = inVersion(definition, live.object);
  const { name } = old.metadata;
  checkIdentity(definition, old, object);
  keepServerFields(old, object);
  if (mode.subresource === "status") keepAllButStatus(context, definition, old, object);
  else if (definition.hasStatus && mode.subresource === undefined) keepStatus(old, object);
  else if (mode.subresource === "ephemeralcontainers" || mode.subresource === "resize") {
    keepAllButPart(mode.subresource, old, object);
  }
  setDefaults(context, definition, object);
  const admission = admissionOf(context, "UPDATE", definition, object, old, mode);
  await admit(admission);
  await askOthers(admission);
  const broken = (await definition.checkExpressions?.(object, old)) ?? [];
  claim(admission);
  if (mode.subresource !== "status") definition.prepareForUpdate?.(object, old, mode.subresource);
  if (hasGeneration(context, definition) && mode.subresource !== "status") bumpGeneration(old, object);
  checkObject(context, definition, object, old, mode.subresource, broken);
  refuseEscalation(context, definition, object, mode.user);
  if (mode.manager !== undefined) {
    object.metadata.managedFields = track(context, definition, old, object, mode.manager, mode.subresource);
  }
  if (object.metadata.managedFields?.length === 0) delete object.metadata.managedFields;
  const table = tableOf(definition);
  const form = inStorage(context, definition, object);
  const stored = form instanceof Promise ? await form : form;
  if (isFinished(definition, object, old)) {
    if (mode.dryRun) return unstored(live.key, stored);
    return context.store.delete(table, live.key, live.revision, stored).catch((error: unknown) => {
      throw translated(error, definition, name);
    });
  }
  if (isUnchanged(live.object, stored)) return live;
  if (mode.dryRun) return unstored(live.key, stored);
  try {
    return await context.store.update(table, live.key, stored, live.revision);
  } catch (error) {
    throw translated(error, definition, name);
  }
}

/** At once, as `claim` needs it, unless a webhook has to be asked. */
function inStorage(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
): KubeObject | Promise<KubeObject> {
  const { conversion } = definition;
  if (conversion === undefined) return toStored(definition, object);
  return inStorageVersion(context, definition, conversion, object);
}

/** The storage's refusal as the API's. */
export function translated(error: unknown, definition: ResourceDefinition, name: string): unknown {
  if (!(error instanceof StorageError)) return error;
  if (error.reason === "exists") return alreadyExists(definition, name);
  if (error.reason === "missing") return notFound(definition, name);
  return conflict(definition, name);
}

/** Upstream's suffix: five letters and digits of which no word and no confusable pair can be made. */
export function generateName(base: string): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  return base.slice(0, 58) + [...bytes].map((byte) => letters[byte % letters.length]).join("");
}

/** A mutable copy of a stored object in the definition's version. */
export function copyOf(definition: ResourceDefinition, stored: Stored): KubeObject {
  const form = inVersion(definition, stored.object);
  return form === stored.object ? clone(stored) : structuredClone(form);
}

function unstored(key: string, object: KubeObject): Stored {
  return { key, revision: 0, object, json: JSON.stringify(object) };
}

function hasGeneration(context: ServerContext, definition: ResourceDefinition): boolean {
  return (
    countsGenerations.has(definition.resource) ||
    context.registry.customResourceDefinition(definition) !== undefined
  );
}

function checkNamespace(
  context: ServerContext,
  definition: ResourceDefinition,
  metadata: KubeObject["metadata"],
): void {
  if (!definition.namespaced) {
    delete metadata.namespace;
    return;
  }
  const namespace = metadata.namespace ?? "";
  const stored = context.store.latest("namespaces", namespace);
  if (stored === undefined)
    throw notFound({ group: "", resource: "namespaces", kind: "Namespace" }, namespace);
  if (stored.object.metadata.deletionTimestamp !== undefined) {
    throw namespaceTerminating(definition, metadata.name, namespace);
  }
}

function setDefaults(context: ServerContext, definition: ResourceDefinition, object: KubeObject): void {
  const schema = schemaOf(context, definition);
  const custom = context.registry.customResourceDefinition(definition) !== undefined;
  if (schema !== undefined && !custom) normalize(schema, object);
  definition.setDefaults?.(object);
  if (schema !== undefined && custom) applyDefaults(schema, object);
}

export function admissionOf(
  context: ServerContext,
  operation: AdmissionContext["operation"],
  definition: ResourceDefinition,
  object: KubeObject | undefined,
  old: KubeObject | undefined,
  { user, subresource, dryRun, warnings }: WriteMode,
): WebhookContext {
  return {
    operation,
    definition,
    object,
    old,
    subresource,
    user,
    dryRun,
    authorizer: context.authorizer,
    findKind: (apiVersion, kind) => context.registry.findKind(apiVersion, kind),
    // A write that is tried again says the same again.
    warn: (text) => void (warnings?.includes(text) === false && warnings.push(text)),
    ...storageReader(context),
    post: (client, body, timeoutMs) => postToWebhook(context, client, body, timeoutMs),
    setDefaults: (changed) => setDefaults(context, definition, changed),
  };
}

/** What admission may look up. */
function storageReader({ store }: ServerContext): Pick<AdmissionContext, "get" | "list" | "waitFor"> {
  return {
    get: (resource, name, namespace) =>
      store.latest(tableOf(resource), namespace === undefined ? name : `${namespace}/${name}`)?.object,
    list: (resource, namespace) =>
      store
        .listLatest(tableOf(resource), namespace === undefined ? "" : `${namespace}/`)
        .map((stored) => stored.object),
    waitFor: (resource, name, namespace, timeoutMs) =>
      new Promise((resolve) => {
        const table = tableOf(resource);
        const key = `${namespace}/${name}`;
        const found = store.latest(table, key);
        if (found !== undefined) return resolve(found.object);
        const end = (object?: KubeObject): void => {
          clearTimeout(timer);
          stop();
          resolve(object);
        };
        const timer = setTimeout(() => end(), timeoutMs);
        const stop = store.watch(table, store.revision, ({ type, current }) => {
          if (type !== "DELETED" && current.key === key) end(current.object);
        });
      }),
  };
}

function checkObject(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  old: KubeObject | undefined,
  subresource: string | undefined,
  /** What its expressions have found. */
  broken: StatusCause[],
): void {
  const causes = [
    ...validateMetadata(object, definition),
    ...(definition.validate?.(object, old, subresource) ?? []),
  ];
  const crd = context.registry.customResourceDefinition(definition);
  const schema = crd === undefined ? undefined : schemaOf(context, definition);
  if (crd !== undefined && schema !== undefined) {
    const version = (crd.spec.versions as { name: string; schema?: { openAPIV3Schema?: object } }[]).find(
      ({ name }) => name === definition.version,
    );
    const openAPIV3Schema = version?.schema?.openAPIV3Schema;
    if (openAPIV3Schema !== undefined) causes.push(...validateStructural(openAPIV3Schema, object));
  }
  // Expressions are about objects that are what their schema says.
  if (causes.length === 0) causes.push(...broken);
  if (causes.length > 0) throw invalid(definition, object.metadata.name, causes);
}

function track(
  context: ServerContext,
  definition: ResourceDefinition,
  before: KubeObject | undefined,
  after: KubeObject,
  manager: string,
  subresource: string | undefined,
): ManagedFieldsEntry[] | undefined {
  const schema = schemaOf(context, definition);
  if (schema === undefined) return before?.metadata.managedFields;
  // A client may reset ownership with an empty list; without the field it means what is there.
  const managedFields = after.metadata.managedFields;
  if (before !== undefined && managedFields === undefined) {
    after.metadata.managedFields = before.metadata.managedFields;
  } else if (managedFields?.length === 1 && Object.keys(managedFields[0] ?? {}).length === 0) {
    after.metadata.managedFields = [];
    return undefined;
  }
  const now = timestamp(context.now());
  const apiVersion = apiVersionOf(definition);
  if (before === undefined && definition.hasStatus) {
    // The first status is the server's own.
    const { status: _status, ...written } = after;
    return trackUpdate({ schema, after: written, manager, apiVersion, subresource, now });
  }
  return trackUpdate({ schema, before, after, manager, apiVersion, subresource, now });
}
