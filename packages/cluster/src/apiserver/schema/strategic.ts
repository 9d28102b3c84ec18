/**
 * Strategic merge patches, by the rules of
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md: lists with a
 * merge key merge by it, and the directives `$patch`, `$retainKeys`, `$setElementOrder/<list>` and
 * `$deleteFromPrimitiveList/<list>` say what plain merging cannot.
 */
import { SchemaError } from "./error.ts";
import { clone, equal, isObject, type Json, own, put } from "./json.ts";
import type { FieldSchema, ListSchema, TypeSchema } from "./types.ts";

const orderPrefix = "$setElementOrder/";
const deletePrefix = "$deleteFromPrimitiveList/";

/** A new object; the given ones stay as they are. Throws `SchemaError` for a directive or a list that makes no sense. */
export function strategicMergePatch<T>(schema: TypeSchema, object: T, patch: unknown): T {
  if (!isObject(patch)) throw new SchemaError("a strategic merge patch is an object");
  return mergeObject(schema, isObject(object) ? object : {}, patch) as T;
}

function mergeObject(schema: TypeSchema, target: Json, patch: Json): Json {
  const directive = own(patch, "$patch");
  if (directive === "replace") return stripped(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge") throw unknownDirective(directive);
  const result = retainKeys({ ...target }, patch);
  for (const key of Object.keys(patch)) {
    if (key === "$patch" || key === "$retainKeys" || key.startsWith(orderPrefix)) continue;
    if (key.startsWith(deletePrefix)) {
      deleteFromPrimitiveList(result, key.slice(deletePrefix.length), patch);
      continue;
    }
    mergeField(schema, key, result, patch);
  }
  // An order, or a deletion, may stand alone, without a patch for its list.
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(orderPrefix)) continue;
    const name = key.slice(orderPrefix.length);
    const list = own(result, name);
    const listSchema = childOf(schema, name)?.schema;
    if (Array.isArray(list) && listSchema?.type === "list") {
      put(result, name, reorder(listSchema, list, patch[key], own(target, name), name));
    }
  }
  return result;
}

function mergeField(schema: TypeSchema, key: string, result: Json, patch: Json): void {
  const value = patch[key];
  if (value === null) {
    delete result[key];
    return;
  }
  const child = childOf(schema, key);
  const current = own(result, key);
  if (isObject(value)) {
    if (own(value, "$patch") === "delete") delete result[key];
    // Nothing to merge into: directives go, nulls too.
    else
      put(
        result,
        key,
        mergeObject(child?.schema ?? { type: "any" }, isObject(current) ? current : {}, value),
      );
    return;
  }
  if (Array.isArray(value) && child?.schema.type === "list") {
    put(result, key, mergeList(child.schema, Array.isArray(current) ? current : [], value, key));
    return;
  }
  put(result, key, clone(value));
}

function childOf(schema: TypeSchema, key: string): FieldSchema | undefined {
  if (schema.type === "object") return schema.fields.get(key);
  return schema.type === "map" ? { schema: schema.values } : undefined;
}

function merges(schema: ListSchema): boolean {
  return schema.patchStrategy?.split(",").includes("merge") === true;
}

function mergeList(schema: ListSchema, target: unknown[], patch: unknown[], name: string): unknown[] {
  const replaced = patch.some((item) => isObject(item) && own(item, "$patch") === "replace");
  if (replaced)
    return patch
      .filter((item) => !isObject(item) || !Object.hasOwn(item, "$patch"))
      .map((item) => stripped(item));
  if (!merges(schema)) return patch.map((item) => stripped(item));
  const key = schema.patchMergeKey;
  if (key === undefined) {
    const added = patch.filter((item, index) => patch.indexOf(item) === index && !target.includes(item));
    return [...target, ...added];
  }
  const result = [...target];
  for (const item of patch) {
    if (!isObject(item))
      throw new SchemaError(`list ${name} merges by ${key}, but the patch holds a value that is no object`);
    const id = own(item, key);
    const directive = own(item, "$patch");
    if (id === undefined) {
      throw new SchemaError(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    }
    const index = result.findIndex((candidate) => isObject(candidate) && equal(own(candidate, key), id));
    if (directive === "delete") {
      for (let at = result.length - 1; at >= 0; at -= 1) {
        const candidate = result[at];
        if (isObject(candidate) && equal(own(candidate, key), id)) result.splice(at, 1);
      }
      continue;
    }
    const current = index < 0 ? {} : (result[index] as Json);
    const merged = mergeObject(schema.items, current, item);
    if (index < 0) result.push(merged);
    else result[index] = merged;
  }
  return result;
}

/** `$retainKeys` lists the fields that may stay; it must name every field that the patch sets. */
function retainKeys(target: Json, patch: Json): Json {
  const retain = own(patch, "$retainKeys");
  if (retain === undefined) return target;
  if (!Array.isArray(retain)) throw new SchemaError("$retainKeys is a list of field names");
  const keys = new Set<unknown>(retain);
  for (const key of Object.keys(patch)) {
    if (!key.startsWith("$") && patch[key] !== null && !keys.has(key)) {
      throw new SchemaError(`${key} is set by the patch but is not in $retainKeys`);
    }
  }
  for (const key of Object.keys(target)) if (!keys.has(key)) delete target[key];
  return target;
}

function deleteFromPrimitiveList(target: Json, name: string, patch: Json): void {
  const removed = patch[`${deletePrefix}${name}`];
  const list = own(target, name);
  if (!Array.isArray(removed)) throw new SchemaError(`${deletePrefix}${name} is a list of values`);
  if (Array.isArray(list))
    put(
      target,
      name,
      list.filter((item) => !removed.includes(item)),
    );
}

/**
 * Items named by `$setElementOrder` take that order; items that only the server has keep their place relative to their
 * neighbours in the live list.
 */
function reorder(
  schema: ListSchema,
  list: unknown[],
  order: unknown,
  live: unknown,
  name: string,
): unknown[] {
  if (!Array.isArray(order)) throw new SchemaError(`${orderPrefix}${name} is a list`);
  if (!merges(schema)) return list;
  const key = schema.patchMergeKey;
  const idOf = (item: unknown) =>
    JSON.stringify(key !== undefined && isObject(item) ? own(item, key) : item) ?? "";
  const rank = new Map(order.map((item, index) => [idOf(item), index]));
  const place = new Map((Array.isArray(live) ? live : []).map((item: unknown, index) => [idOf(item), index]));
  const ordered = list.filter((item) => rank.has(idOf(item)));
  ordered.sort((a, b) => (rank.get(idOf(a)) ?? 0) - (rank.get(idOf(b)) ?? 0));
  const others = list.filter((item) => !rank.has(idOf(item)));
  const result: unknown[] = [];
  let [i, j] = [0, 0];
  while (i < ordered.length && j < others.length) {
    const [left, right] = [place.get(idOf(ordered[i])), place.get(idOf(others[j])) ?? 0];
    if (left !== undefined && left > right) result.push(others[j++]);
    else result.push(ordered[i++]);
  }
  return [...result, ...ordered.slice(i), ...others.slice(j)];
}

/** A value without directives and nulls in its objects. */
function stripped<T>(value: T): T {
  if (Array.isArray(value)) {
    return value
      .filter((item) => !isObject(item) || own(item, "$patch") !== "delete")
      .map((item: unknown) => stripped(item)) as T;
  }
  if (!isObject(value)) return value;
  const result: Json = {};
  for (const key of Object.keys(value)) {
    const child = value[key];
    const directive =
      key === "$patch" ||
      key === "$retainKeys" ||
      key.startsWith(orderPrefix) ||
      key.startsWith(deletePrefix);
    if (directive || child === null || (isObject(child) && own(child, "$patch") === "delete")) continue;
    put(result, key, stripped(child));
  }
  return result as T;
}

function unknownDirective(directive: unknown): SchemaError {
  return new SchemaError(
    `unknown patch type: ${JSON.stringify(directive)} in $patch (delete, merge and replace are known)`,
  );
}
