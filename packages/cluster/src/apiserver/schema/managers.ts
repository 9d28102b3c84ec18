/** `metadata.managedFields` as a table of managers, and the rules that hold for every write. */
import type { KubeObject, ManagedFieldsEntry } from "@kws/kube/object";
import { type FieldSet, isEmptySet, parseSet, union, withoutBranches } from "./fieldset.ts";

export interface ManagerEntry {
  manager: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  subresource: string;
  time: string | undefined;
  set: FieldSet;
}

/** By identity: an applier is the same whatever version it applies, an updater is not. */
export type Managers = Map<string, ManagerEntry>;

/** Never tracked: what identifies the object and what the server writes (upstream's stripmeta.go). */
const stripped = [
  ["apiVersion"],
  ["kind"],
  ["metadata", "name"],
  ["metadata", "namespace"],
  ["metadata", "creationTimestamp"],
  ["metadata", "selfLink"],
  ["metadata", "uid"],
  ["metadata", "clusterName"],
  ["metadata", "generation"],
  ["metadata", "managedFields"],
  ["metadata", "resourceVersion"],
];

/** More updaters than these share an entry (upstream's capmanagers.go). */
const maximumUpdaters = 10;
const bucketManager = "ancient-changes";

export function identify(
  entry: Pick<ManagerEntry, "manager" | "operation" | "apiVersion" | "subresource">,
): string {
  const version = entry.operation === "Apply" ? "" : entry.apiVersion;
  return JSON.stringify([entry.operation, entry.manager, version, entry.subresource]);
}

/** The managers in an object; entries that are malformed make the whole list unusable, as upstream. */
export function readManagers(object: KubeObject | undefined): Managers | undefined {
  const managers: Managers = new Map();
  for (const entry of object?.metadata?.managedFields ?? []) {
    const set = parseSet(entry.fieldsV1);
    if (set === undefined || (entry.operation !== "Apply" && entry.operation !== "Update")) return undefined;
    const { manager, operation, apiVersion, subresource = "", time } = entry;
    const read: ManagerEntry = { manager, operation, apiVersion, subresource, time, set };
    const key = identify(read);
    const known = managers.get(key);
    managers.set(key, known === undefined ? read : { ...read, set: union(known.set, set) });
  }
  return managers;
}

/** Without the fields that nobody owns, and those under `ignore` (dotted paths). */
export function trackable(set: FieldSet, ignore: string[] = []): FieldSet {
  const kept = withoutBranches(
    set,
    ignore.length === 0 ? stripped : [...stripped, ...ignore.map((path) => path.split("."))],
  );
  const { "f:metadata": metadata, ...others } = kept;
  if (metadata === undefined) return kept;
  const { ".": _, ...fields } = metadata;
  return isEmptySet(fields) ? others : { "f:metadata": fields, ...others };
}

/** The entries in the order that upstream writes them: appliers first, then by time and name. */
export function writeManagers(managers: Managers): ManagedFieldsEntry[] {
  const entries = [...capped(managers).values()].filter((entry) => !isEmptySet(entry.set));
  entries.sort(
    (a, b) =>
      compareText(a.operation, b.operation) ||
      compareText(a.time ?? "", b.time ?? "") ||
      compareText(a.manager, b.manager) ||
      compareText(a.apiVersion, b.apiVersion) ||
      compareText(a.subresource, b.subresource),
  );
  return entries.map(({ manager, operation, apiVersion, time, set, subresource }) => {
    const entry: ManagedFieldsEntry = {
      manager,
      operation,
      apiVersion,
      fieldsType: "FieldsV1",
      fieldsV1: set,
    };
    if (time !== undefined) entry.time = time;
    if (subresource !== "") entry.subresource = subresource;
    return entry;
  });
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function capped(managers: Managers): Managers {
  const updaters = [...managers].filter(
    ([, entry]) => entry.operation === "Update" && !isEmptySet(entry.set),
  );
  if (updaters.length <= maximumUpdaters) return managers;
  updaters.sort(([, a], [, b]) => compareText(a.time ?? "", b.time ?? ""));
  const result = new Map(managers);
  let count = updaters.length;
  for (const [key, entry] of updaters) {
    if (count <= maximumUpdaters) break;
    const bucket = { ...entry, manager: bucketManager, subresource: "" };
    const into = identify(bucket);
    if (key === into) continue;
    const known = result.get(into);
    result.delete(key);
    result.set(into, known === undefined ? bucket : { ...bucket, set: union(known.set, entry.set) });
    if (known !== undefined) count -= 1;
  }
  return result;
}
