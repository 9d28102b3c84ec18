/**
 * Server-side apply and the ownership that every other write leaves behind, as
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/ describes and sigs.k8s.io/structured-merge-diff does. All
 * managers are taken to speak of one version of the shape: versions of a built-in kind are not converted here.
 */
import type { KubeObject, ManagedFieldsEntry } from "@kws/kube/object";
import { SchemaError } from "./error.ts";
import { difference, type FieldSet, intersection, isEmptySet, pathsOf, sameSet, union } from "./fieldset.ts";
import { equal, isObject } from "./json.ts";
import {
  identify,
  type ManagerEntry,
  type Managers,
  readManagers,
  trackable,
  writeManagers,
} from "./managers.ts";
import { checkApplied, compare, fieldSetOf, mergeValues, removeFields, withNamedFields } from "./typed.ts";
import type { ObjectSchema } from "./types.ts";

const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

export interface ApplyRequest {
  schema: ObjectSchema;
  /** The stored object; absent when apply creates it. */
  live?: KubeObject;
  applied: KubeObject;
  manager: string;
  /** Takes fields over from other managers instead of reporting conflicts. */
  force: boolean;
  apiVersion: string;
  subresource?: string;
  /** RFC 3339, for the entry's time. */
  now: string;
  /** Dotted paths that this endpoint does not write, such as `status`: never owned. */
  ignore?: string[];
}

export interface ApplyConflict {
  manager: string;
  /** Such as `.spec.replicas`. */
  field: string;
  /** As a Status cause words it: `conflict with "kubectl" using apps/v1`. */
  message: string;
}

export interface ApplyResult {
  /** With its new `managedFields`; the live object when there are conflicts. */
  object: KubeObject;
  conflicts: ApplyConflict[];
}

/** Defaults are for the caller to fill in afterwards. Throws `SchemaError` for an object that does not fit the shape. */
export function serverSideApply(request: ApplyRequest): ApplyResult {
  const { schema, applied, manager, apiVersion, now, subresource = "" } = request;
  if (applied.metadata?.managedFields !== undefined)
    throw new SchemaError("metadata.managedFields must be nil");
  checkTyped(schema, applied);
  const live = withoutManagedFields(request.live ?? minimal(applied));
  const managers = request.live === undefined ? new Map() : firstManagers(request, request.live);
  const key = identify({ manager, operation: "Apply", apiVersion, subresource });
  const last = managers.get(key);
  const set = trackable(fieldSetOf(schema, applied), request.ignore);

  const merged = mergeValues(schema, live, applied);
  managers.set(key, { manager, operation: "Apply", apiVersion, subresource, time: last?.time, set });
  const object = last === undefined ? merged : pruneUnapplied(schema, merged, managers, last.set);
  if (!isObject(object)) throw new SchemaError("the applied configuration leaves nothing of the object");

  const { changed, removed } = compare(schema, live, object);
  const conflicts = findConflicts(managers, key, changed);
  const allowed = request.force || areFromClientSideApply(request, live, conflicts);
  if (conflicts.size > 0 && !allowed) {
    return { object: request.live ?? applied, conflicts: describeConflicts(conflicts) };
  }
  release(managers, key, changed, removed);

  const isSame =
    last !== undefined && sameSet(last.set, set) && last.apiVersion === apiVersion && equal(live, object);
  managers.set(key, {
    manager,
    operation: "Apply",
    apiVersion,
    subresource,
    time: isSame ? last.time : now,
    set,
  });
  return { object: withManagedFields(object as KubeObject, writeManagers(managers)), conflicts: [] };
}

function checkTyped(schema: ObjectSchema, applied: KubeObject): void {
  try {
    checkApplied(schema, applied);
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    const { name, namespace = "" } = applied.metadata ?? { name: "" };
    const who = `${namespace}/${name}; ${applied.apiVersion}, Kind=${applied.kind}`;
    throw new SchemaError(`failed to create typed patch object (${who}): ${error.message}`, { cause: error });
  }
}

function minimal({ apiVersion, kind }: KubeObject): KubeObject {
  return { apiVersion, kind } as KubeObject;
}

function withoutManagedFields(object: KubeObject): KubeObject {
  if (object.metadata?.managedFields === undefined) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function withManagedFields(object: KubeObject, managedFields: ManagedFieldsEntry[]): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata ?? {};
  return { ...object, metadata: managedFields.length === 0 ? metadata : { ...metadata, managedFields } };
}

/** What stood in an object before its first apply belongs to a manager of that name, so that apply can conflict with it. */
function firstManagers(request: ApplyRequest, live: KubeObject): Managers {
  const managers = readManagers(live) ?? new Map<string, ManagerEntry>();
  if (managers.size > 0) return managers;
  const { schema, apiVersion, now } = request;
  const { changed } = compare(schema, minimal(live), live);
  const set = trackable(changed);
  if (isEmptySet(set)) return managers;
  const entry: ManagerEntry = {
    manager: "before-first-apply",
    operation: "Update",
    apiVersion,
    subresource: "",
    time: now,
    set,
  };
  return new Map([[identify(entry), entry]]);
}

/**
 * Takes out what this applier applied last time and no longer does, unless another manager owns it. Items and objects that
 * are left without anything go too.
 */
function pruneUnapplied(schema: ObjectSchema, merged: unknown, managers: Managers, last: FieldSet): unknown {
  if (isEmptySet(last)) return merged;
  const named = (set: FieldSet) => withNamedFields(schema, set);
  const lastNamed = named(last);
  let pruned = removeFields(schema, merged, lastNamed);
  const all = named(fieldSetOf(schema, merged));
  let owned: FieldSet = {};
  for (const entry of managers.values()) owned = union(owned, entry.set);
  const left = () => named(fieldSetOf(schema, pruned ?? {}));
  pruned = removeFields(schema, merged, difference(all, union(left(), named(owned))));
  return removeFields(schema, merged, intersection(difference(all, left()), lastNamed));
}

function findConflicts(managers: Managers, self: string, changed: FieldSet): Map<ManagerEntry, FieldSet> {
  const conflicts = new Map<ManagerEntry, FieldSet>();
  for (const [key, entry] of managers) {
    if (key === self) continue;
    const set = intersection(entry.set, changed);
    if (!isEmptySet(set)) conflicts.set(entry, set);
  }
  return conflicts;
}

/** Other managers lose what was changed or removed, and go when nothing is left to them. */
function release(managers: Managers, self: string, changed: FieldSet, removed: FieldSet): void {
  const lost = union(changed, removed);
  if (isEmptySet(lost)) return;
  for (const [key, entry] of managers) {
    if (key === self) continue;
    const set = difference(entry.set, lost);
    if (isEmptySet(set)) managers.delete(key);
    else if (!sameSet(set, entry.set)) managers.set(key, { ...entry, set });
  }
}

/**
 * `kubectl apply --server-side` on an object that `kubectl apply` made may take over what its last-applied annotation lists
 * (upstream's lastapplied.go).
 */
function areFromClientSideApply(
  request: ApplyRequest,
  live: KubeObject,
  conflicts: Map<ManagerEntry, FieldSet>,
): boolean {
  const text = live.metadata?.annotations?.[lastAppliedAnnotation];
  if (request.manager !== "kubectl" || conflicts.size === 0 || text === undefined) return false;
  try {
    const allowed = fieldSetOf(request.schema, JSON.parse(text));
    return [...conflicts.values()].every((set) => isEmptySet(difference(set, allowed)));
  } catch (error) {
    // An annotation that nobody can read allows nothing.
    if (error instanceof SyntaxError || error instanceof SchemaError) return false;
    throw error;
  }
}

function describeConflicts(conflicts: Map<ManagerEntry, FieldSet>): ApplyConflict[] {
  const list = [...conflicts].flatMap(([entry, set]) =>
    pathsOf(set).map((field) => ({
      manager: entry.manager,
      field,
      message: `conflict with ${describeManager(entry)}`,
    })),
  );
  return list.sort((a, b) => (`${a.message}${a.field}` < `${b.message}${b.field}` ? -1 : 1));
}

function describeManager({ manager, operation, apiVersion, subresource, time }: ManagerEntry): string {
  const name =
    subresource === ""
      ? JSON.stringify(manager)
      : `${JSON.stringify(manager)} with subresource "${subresource}"`;
  if (operation === "Apply") return name;
  return time === undefined ? `${name} using ${apiVersion}` : `${name} using ${apiVersion} at ${time}`;
}

/** The message of the 409 that reports conflicts. */
export function conflictMessage(conflicts: ApplyConflict[]): string {
  const groups = new Map<string, string[]>();
  for (const { message, field } of conflicts) groups.set(message, [...(groups.get(message) ?? []), field]);
  const parts = [...groups].map(([message, fields]) =>
    fields.length === 1
      ? `${message}: ${fields[0]}`
      : `${message.replace("conflict", "conflicts")}:\n${fields.map((field) => `- ${field}`).join("\n")}`,
  );
  const count = conflicts.length === 1 ? "1 conflict" : `${conflicts.length} conflicts`;
  return `Apply failed with ${count}: ${parts.join("\n")}`;
}

export interface UpdateRequest {
  schema: ObjectSchema;
  /** The stored object; absent on create. */
  before?: KubeObject;
  after: KubeObject;
  manager: string;
  apiVersion: string;
  subresource?: string;
  now: string;
}

/** The `managedFields` of `after` once a create, an update or a patch by `manager` wrote it. */
export function trackUpdate(request: UpdateRequest): ManagedFieldsEntry[] {
  const { schema, before, after, manager, apiVersion, subresource = "", now } = request;
  const managers = claimedManagers(before, after, subresource);
  const comparison = compare(schema, before ?? minimal(after), after);
  const changed = trackable(comparison.changed);
  release(managers, "", changed, comparison.removed);
  if (!isEmptySet(changed)) {
    const entry: ManagerEntry = {
      manager,
      operation: "Update",
      apiVersion,
      subresource,
      time: now,
      set: changed,
    };
    const key = identify(entry);
    const own = managers.get(key);
    if (own !== undefined) entry.set = union(own.set, changed);
    managers.set(key, entry);
  }
  return writeManagers(managers);
}

/**
 * A client may write managedFields itself (kubectl does, to move from client-side apply); one empty entry resets them; none,
 * or what cannot be read, leaves those of the stored object.
 */
function claimedManagers(before: KubeObject | undefined, after: KubeObject, subresource: string): Managers {
  const claimed = after.metadata?.managedFields ?? [];
  if (subresource === "" && claimed.length > 0) {
    const [first] = claimed;
    if (claimed.length === 1 && first !== undefined && Object.keys(first).length === 0) return new Map();
    const read = readManagers(after);
    if (read !== undefined && read.size > 0) return read;
  }
  return readManagers(before) ?? new Map();
}
