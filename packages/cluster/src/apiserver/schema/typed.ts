/**
 * Objects seen through their shape as server-side apply sees them: which fields a value holds, what changed between two
 * values, merging and removing. Follows sigs.k8s.io/structured-merge-diff: atomic lists and maps are one field, associative
 * lists go by key, sets by value.
 */
import { SchemaError } from "./error.ts";
import { asMember, type FieldSet, isEmptySet, isMember } from "./fieldset.ts";
import { equal, isObject, type Json, own, put } from "./json.ts";
import type { FieldSchema, ListSchema, ObjectSchema, TypeSchema } from "./types.ts";

const any: TypeSchema = { type: "any" };
const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/** The shape of the value under a key, for shapes whose objects merge field by field. */
export function childSchema(schema: TypeSchema, key: string): TypeSchema {
  if (schema.type === "object") return schema.fields.get(key)?.schema ?? schema.rest ?? any;
  return schema.type === "map" ? schema.values : any;
}

/** How a shape merges: as one value, key by key, or item by item. */
function kindOf(schema: TypeSchema, a: unknown, b: unknown): "leaf" | "map" | "list" {
  switch (schema.type) {
    case "object":
    case "map":
      return schema.atomic === true ? "leaf" : "map";
    case "list":
      return schema.listType === "atomic" ? "leaf" : "list";
    case "any":
      if (schema.atomic === true) return "leaf";
      return (isObject(a) || isObject(b)) && !isOtherThanObject(a) && !isOtherThanObject(b) ? "map" : "leaf";
    default:
      return "leaf";
  }
}

function isOtherThanObject(value: unknown): boolean {
  return value !== undefined && value !== null && !isObject(value);
}

/** The element that names an item of a set or an associative list. */
export function itemElement(schema: ListSchema, item: unknown): string {
  if (schema.listType === "set") return `v:${JSON.stringify(item)}`;
  if (!isObject(item)) throw new SchemaError("associative list with keys may not have non-map elements");
  const keys = schema.listMapKeys ?? [];
  const found: Json = {};
  for (const key of keys.length > 1 ? keys.toSorted() : keys) {
    const value = own(item, key) ?? keyDefault(schema, key);
    if (value !== undefined) found[key] = value;
  }
  if (Object.keys(found).length === 0) {
    const names = JSON.stringify(keys).replaceAll(",", " ");
    throw new SchemaError(
      `associative list with keys has an element that omits all key fields ${names} (and doesn't have default values for any key fields)`,
    );
  }
  return `k:${JSON.stringify(found)}`;
}

function keyDefault(schema: ListSchema, key: string): unknown {
  if (schema.items.type !== "object") return undefined;
  const field = schema.items.fields.get(key);
  if (field?.default !== undefined) return field.default;
  return field !== undefined && schema.items.name !== undefined ? goZero(field) : undefined;
}

/** The value that Go's JSON always writes for a field that is not set; undefined when it writes none. */
function goZero(field: FieldSchema): unknown {
  if (field.pointer === true) return undefined;
  const { schema } = field;
  if (schema.type === "object") return {};
  if (field.omitEmpty === true) return undefined;
  if (schema.type === "string") return schema.format === undefined ? "" : null;
  if (schema.type === "boolean") return false;
  return schema.type === "integer" || schema.type === "number" ? 0 : null;
}

/** The value under a key, as Go's types hold it: built-in objects have no nulls, and structs even where nothing is set. */
function held(schema: TypeSchema, object: Json, key: string): unknown {
  const value = own(object, key);
  if (schema.type !== "object" || schema.name === undefined || schema.structural === true) return value;
  if (value !== undefined && value !== null) return value;
  const field = schema.fields.get(key);
  return field === undefined ? undefined : goZero(field);
}

/** Every field that a value holds, as an applier owns it. Throws `SchemaError` for list items without their keys. */
export function fieldSetOf(schema: TypeSchema, value: unknown): FieldSet {
  const set: FieldSet = {};
  collect(schema, value, set);
  return set;
}

/** Adds the fields below `value` to `set`; true when the value itself is a field. */
function collect(schema: TypeSchema, value: unknown, set: FieldSet): boolean {
  const kind = kindOf(schema, value, undefined);
  if (kind === "leaf") return true;
  if (kind === "list") {
    if (Array.isArray(value)) collectItems(schema as ListSchema, value, set);
    return false;
  }
  if (!isObject(value)) return false;
  for (const key of Object.keys(value)) {
    const child = value[key];
    const inner: FieldSet = {};
    const declared = schema.type === "object" && schema.fields.has(key);
    const empty = child === null || (isObject(child) && Object.keys(child).length === 0);
    const member = collect(childSchema(schema, key), child, inner) || !declared || empty;
    if (member) set[`f:${key}`] = asMember(inner);
    else if (!isEmptySet(inner)) set[`f:${key}`] = inner;
  }
  return false;
}

function collectItems(schema: ListSchema, list: unknown[], set: FieldSet): void {
  const elements = list.map((item) => itemElement(schema, item));
  const seen = new Set<string>();
  for (const [index, element] of elements.entries()) {
    const inner: FieldSet = {};
    // Items that occur twice are owned as a whole.
    if (!seen.has(element) && elements.indexOf(element, index + 1) < 0)
      collect(schema.items, list[index], inner);
    set[element] = asMember(inner);
    seen.add(element);
  }
}

export interface Comparison {
  /** Fields that are new or hold another value. */
  changed: FieldSet;
  removed: FieldSet;
}

/** What differs from `before` to `after`; `metadata.managedFields` is left out. */
export function compare(schema: TypeSchema, before: unknown, after: unknown): Comparison {
  const result: Comparison = { changed: {}, removed: {} };
  walk(schema, before, after, result.changed, result.removed);
  return result;
}

const unchanged = 0;
const isChanged = 1;
const isRemoved = 2;

function walk(
  schema: TypeSchema,
  before: unknown,
  after: unknown,
  changed: FieldSet,
  removed: FieldSet,
): number {
  if (before === undefined && after === undefined) return unchanged;
  const kind = kindOf(schema, before, after);
  if (kind === "leaf" || (isBlank(before) && isBlank(after))) {
    if (before === undefined) return isChanged;
    if (after === undefined) return isRemoved;
    return equal(before, after) ? unchanged : isChanged;
  }
  if (kind === "map") walkKeys(schema, before, after, changed, removed);
  else walkItems(schema as ListSchema, before, after, changed, removed);
  if (before === undefined) return isChanged;
  return after === undefined ? isRemoved : unchanged;
}

function isBlank(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return !isObject(value) || Object.keys(value).length === 0;
}

function walkKeys(
  schema: TypeSchema,
  before: unknown,
  after: unknown,
  changed: FieldSet,
  removed: FieldSet,
): void {
  const a = isObject(before) ? before : {};
  const b = isObject(after) ? after : {};
  const isMeta = schema.type === "object" && schema.name === objectMeta;
  const visit = (key: string) => {
    if (isMeta && key === "managedFields") return;
    const left = before === undefined ? undefined : held(schema, a, key);
    const right = after === undefined ? undefined : held(schema, b, key);
    step(childSchema(schema, key), `f:${key}`, left, right, changed, removed);
  };
  for (const key of Object.keys(b)) visit(key);
  for (const key of Object.keys(a)) if (!Object.hasOwn(b, key)) visit(key);
}

function step(
  schema: TypeSchema,
  element: string,
  before: unknown,
  after: unknown,
  changed: FieldSet,
  removed: FieldSet,
): void {
  if (before === after) return;
  const innerChanged: FieldSet = {};
  const innerRemoved: FieldSet = {};
  const outcome = walk(schema, before, after, innerChanged, innerRemoved);
  if (outcome === isChanged) changed[element] = asMember(innerChanged);
  else if (!isEmptySet(innerChanged)) changed[element] = innerChanged;
  if (outcome === isRemoved) removed[element] = asMember(innerRemoved);
  else if (!isEmptySet(innerRemoved)) removed[element] = innerRemoved;
}

function groupItems(schema: ListSchema, list: unknown): Map<string, unknown[]> {
  const groups = new Map<string, unknown[]>();
  for (const item of Array.isArray(list) ? (list as unknown[]) : []) {
    const element = itemElement(schema, item);
    const group = groups.get(element);
    if (group === undefined) groups.set(element, [item]);
    else group.push(item);
  }
  return groups;
}

function walkItems(
  schema: ListSchema,
  before: unknown,
  after: unknown,
  changed: FieldSet,
  removed: FieldSet,
): void {
  const a = groupItems(schema, before);
  const b = groupItems(schema, after);
  for (const element of new Set([...a.keys(), ...b.keys()])) {
    const left = a.get(element) ?? [];
    const right = b.get(element) ?? [];
    if (left.length <= 1 && right.length <= 1) {
      step(schema.items, element, left[0], right[0], changed, removed);
    } else if (left.length >= 2 && right.length >= 2) {
      // Items that occur twice count as one value.
      if (!equal(left, right)) changed[element] = {};
    } else if (left.length >= 2) {
      if (right.length > 0) step(schema.items, element, undefined, right[0], changed, removed);
      removed[element] = asMember(removed[element] ?? {});
    } else {
      if (left.length > 0) step(schema.items, element, left[0], undefined, changed, removed);
      changed[element] = asMember(changed[element] ?? {});
    }
  }
}

/** Lays `applied` over `live`; what only `live` holds stays. Neither is changed. */
export function mergeValues(schema: TypeSchema, live: unknown, applied: unknown): unknown {
  if (applied === undefined) return live;
  if (live === undefined && !isObject(applied) && !Array.isArray(applied)) return applied;
  const kind = kindOf(schema, live, applied);
  if (kind === "leaf" || (isBlank(live) && isBlank(applied))) return applied;
  if (kind === "list") {
    return mergeItems(
      schema as ListSchema,
      Array.isArray(live) ? live : [],
      Array.isArray(applied) ? applied : [],
    );
  }
  const result: Json = {};
  const a = isObject(live) ? live : {};
  const b = isObject(applied) ? applied : {};
  for (const key of Object.keys(a))
    put(result, key, mergeValues(childSchema(schema, key), a[key], own(b, key)));
  for (const key of Object.keys(b)) {
    if (!Object.hasOwn(a, key)) put(result, key, mergeValues(childSchema(schema, key), undefined, b[key]));
  }
  return result;
}

/** Applied items take the order of the applied list; items of others keep their place among them. */
function mergeItems(schema: ListSchema, live: unknown[], applied: unknown[]): unknown[] {
  const right = new Map<string, unknown>();
  for (const item of applied) {
    const element = itemElement(schema, item);
    if (right.has(element)) throw new SchemaError(`duplicate entries for key ${displayElement(element)}`);
    right.set(element, item);
  }
  const liveElements = live.map((item) => itemElement(schema, item));
  const left = new Map<string, unknown>();
  for (const [index, element] of liveElements.entries())
    left.set(element, left.has(element) ? undefined : live[index]);
  const order = [...right.keys()];
  const shared = order.filter((element) => left.has(element));
  const merged = new Set<string>();
  const result: unknown[] = [];
  let [l, r, next] = [0, 0, 0];
  const take = (element: string) => {
    merged.add(element);
    result.push(mergeValues(schema.items, left.get(element), right.get(element)));
    r += 1;
    if (shared[next] === element) next += 1;
  };
  while (l < liveElements.length || r < order.length) {
    const element = liveElements[l];
    const wanted = order[r];
    if (element !== undefined && wanted !== undefined) {
      if (element === wanted) {
        take(wanted);
        l += 1;
        continue;
      }
      if (right.has(element) && shared[next] !== undefined && shared[next] !== element) {
        l += 1;
        continue;
      }
    }
    if (element !== undefined) {
      if (!right.has(element)) {
        result.push(live[l]);
        l += 1;
        continue;
      }
      if (merged.has(element)) l += 1;
    }
    if (wanted !== undefined) take(wanted);
    else if (element !== undefined && !merged.has(element)) l += 1;
  }
  return result;
}

function displayElement(element: string): string {
  const rest = element.slice(2);
  return element.startsWith("v:") ? `[=${rest}]` : `[${rest.slice(1, -1).replace(/"([^"]+)":/g, "$1=")}]`;
}

/** The value without the members of `set`; undefined when nothing is left. */
export function removeFields(schema: TypeSchema, value: unknown, set: FieldSet): unknown {
  const kind = kindOf(schema, value, undefined);
  if (kind === "list" && Array.isArray(value)) {
    const list = schema as ListSchema;
    const kept: unknown[] = [];
    for (const item of value as unknown[]) {
      const node = set[itemElement(list, item)];
      if (node === undefined) kept.push(item);
      else if (!isMember(node)) kept.push(removeFields(list.items, item, node) ?? {});
    }
    return kept.length > 0 ? kept : undefined;
  }
  if (kind === "map" && isObject(value)) {
    const kept: Json = {};
    for (const key of Object.keys(value)) {
      const node = set[`f:${key}`];
      if (node === undefined) put(kept, key, value[key]);
      else if (!isMember(node)) {
        const rest = removeFields(childSchema(schema, key), value[key], node);
        if (rest !== undefined) put(kept, key, rest);
      }
    }
    return Object.keys(kept).length > 0 ? kept : undefined;
  }
  return kind === "leaf" && !isObject(value) && !Array.isArray(value) ? value : undefined;
}

/** The set with the declared fields on the way to its members added, so that emptied objects can go too. */
export function withNamedFields(schema: TypeSchema, set: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const element in set) {
    const node = set[element] as FieldSet;
    if (element === "." || isEmptySet(node)) {
      result[element] = node;
      continue;
    }
    const name = element.startsWith("f:") ? element.slice(2) : undefined;
    const child = schema.type === "list" ? schema.items : childSchema(schema, name ?? "");
    const inner = withNamedFields(child, node);
    const named = name !== undefined && schema.type === "object" && schema.fields.has(name);
    result[element] = named ? asMember(inner) : inner;
  }
  return result;
}

/** Throws `SchemaError`, worded as structured-merge-diff words it, for an applied object that does not fit its shape. */
export function checkApplied(schema: TypeSchema, value: unknown, path = ""): void {
  if (value === null || value === undefined) return;
  switch (schema.type) {
    case "object":
    case "map":
      if (!isObject(value)) throw new SchemaError(`${path}: expected map, got ${JSON.stringify(value)}`);
      for (const key of Object.keys(value)) {
        if (schema.type === "object" && !knows(schema, key)) {
          throw new SchemaError(`${path}.${key}: field not declared in schema`);
        }
        checkApplied(childSchema(schema, key), value[key], `${path}.${key}`);
      }
      return;
    case "list": {
      if (!Array.isArray(value))
        throw new SchemaError(`${path}: expected list, got ${JSON.stringify(value)}`);
      const seen = new Set<string>();
      for (const [index, item] of (value as unknown[]).entries()) {
        let at = `${path}[${index}]`;
        if (schema.listType !== "atomic") {
          const element = elementAt(schema, item, path, index);
          at = `${path}${displayElement(element)}`;
          if (seen.has(element))
            throw new SchemaError(`${path}: duplicate entries for key ${displayElement(element)}`);
          seen.add(element);
        }
        checkApplied(schema.items, item, at);
      }
      return;
    }
    case "boolean":
      if (typeof value !== "boolean")
        throw new SchemaError(`${path}: expected boolean, got ${JSON.stringify(value)}`);
      return;
    case "integer":
    case "number":
      if (typeof value !== "number") {
        throw new SchemaError(`${path}: expected numeric (int or float), got ${JSON.stringify(value)}`);
      }
      return;
    case "string": {
      const loose = schema.format === "int-or-string" || schema.format === "quantity";
      if (typeof value !== "string" && !loose) {
        throw new SchemaError(`${path}: expected string, got ${JSON.stringify(value)}`);
      }
      return;
    }
    case "any":
  }
}

function knows(schema: ObjectSchema, key: string): boolean {
  return schema.open === true || schema.rest !== undefined || schema.fields.has(key);
}

function elementAt(schema: ListSchema, item: unknown, path: string, index: number): string {
  try {
    return itemElement(schema, item);
  } catch (error) {
    if (error instanceof SchemaError)
      throw new SchemaError(`${path}: element ${index}: ${error.message}`, { cause: error });
    throw error;
  }
}
