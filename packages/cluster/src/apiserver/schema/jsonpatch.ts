/** JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Both leave the given object alone and return a new one. */
import { SchemaError } from "./error.ts";
import { clone, equal, isObject, type Json, own, put } from "./json.ts";

/** A copy of a large value per operation makes a small request into a large object (upstream refuses as many). */
const maximumOperations = 10_000;
/** Bytes of JSON that all `copy` operations of a patch may add; copies of copies double. Upstream's limit. */
const maximumCopied = 3 * 1024 * 1024;

/** Throws `SchemaError` for operations that are malformed or that do not fit the object; a failed `test` too. */
export function jsonPatch<T>(object: T, operations: unknown): T {
  if (!Array.isArray(operations)) throw new SchemaError("a JSON patch is a list of operations");
  if (operations.length > maximumOperations) {
    throw new SchemaError(
      `the allowed maximum of operations in a JSON patch is ${maximumOperations}, got ${operations.length}`,
    );
  }
  let root: unknown = clone(object);
  let copied = 0;
  for (const operation of operations as unknown[]) {
    if (!isObject(operation)) throw new SchemaError("an operation of a JSON patch is an object");
    if (operation["op"] === "copy") {
      copied += JSON.stringify(read(root, pointer(operation, "from"))).length;
      if (copied > maximumCopied) {
        throw new SchemaError(
          `unable to copy, the accumulated size increase of copy is ${copied}, exceeding the limit ${maximumCopied}`,
        );
      }
    }
    root = apply(root, operation);
  }
  return root as T;
}

function apply(root: unknown, operation: Json): unknown {
  const { op } = operation;
  const path = pointer(operation, "path");
  switch (op) {
    case "add":
      return add(root, path, clone(valueOf(operation)));
    case "remove":
      return remove(root, path);
    case "replace": {
      const value = clone(valueOf(operation));
      if (path.length === 0) return value;
      read(root, path);
      return replace(root, path, value);
    }
    case "move": {
      const from = pointer(operation, "from");
      if (from.length < path.length && from.every((token, index) => token === path[index])) {
        throw new SchemaError(`cannot move ${text(from)} into itself`);
      }
      const value = read(root, from);
      return add(remove(root, from), path, value);
    }
    case "copy":
      return add(root, path, clone(read(root, pointer(operation, "from"))));
    case "test": {
      const found = find(root, path);
      const expected = valueOf(operation);
      if (!equal(found ?? null, expected)) {
        throw new SchemaError(`testing value ${text(path)} failed: test failed`);
      }
      return root;
    }
    default:
      throw new SchemaError(`unexpected kind of JSON patch operation: ${String(op)}`);
  }
}

function valueOf(operation: Json): unknown {
  if (!Object.hasOwn(operation, "value")) {
    throw new SchemaError(`operation ${String(operation["op"])} of a JSON patch needs a value`);
  }
  return operation["value"];
}

/** RFC 6901: the tokens of a JSON pointer. */
function pointer(operation: Json, member: "path" | "from"): string[] {
  const value = operation[member];
  if (typeof value !== "string")
    throw new SchemaError(`operation ${String(operation["op"])} of a JSON patch needs a ${member}`);
  if (value === "") return [];
  if (!value.startsWith("/"))
    throw new SchemaError(`${member} "${value}" of a JSON patch does not start with a slash`);
  return value
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function text(path: string[]): string {
  return path.map((token) => `/${token.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function indexOf(list: unknown[], token: string, path: string[], limit: number): number {
  if (!/^(0|[1-9]\d*)$/.test(token)) throw new SchemaError(`${text(path)}: "${token}" is no list index`);
  const index = Number(token);
  if (index >= limit)
    throw new SchemaError(`${text(path)}: index ${index} is beyond the list of ${list.length}`);
  return index;
}

/** Undefined when nothing is there. */
function find(root: unknown, path: string[]): unknown {
  let at: unknown = root;
  for (const token of path) {
    if (Array.isArray(at)) at = /^(0|[1-9]\d*)$/.test(token) ? (at as unknown[])[Number(token)] : undefined;
    else if (isObject(at)) at = own(at, token);
    else return undefined;
  }
  return at;
}

function read(root: unknown, path: string[]): unknown {
  const found = find(root, path);
  if (found === undefined) throw new SchemaError(`${text(path)} does not exist: missing value`);
  return found;
}

function parentOf(root: unknown, path: string[]): Json | unknown[] {
  const parent = find(root, path.slice(0, -1));
  if (Array.isArray(parent) || isObject(parent)) return parent;
  throw new SchemaError(`${text(path)}: the parent does not exist: missing path`);
}

function add(root: unknown, path: string[], value: unknown): unknown {
  const token = path.at(-1);
  if (token === undefined) return value;
  const parent = parentOf(root, path);
  if (Array.isArray(parent)) {
    const index = token === "-" ? parent.length : indexOf(parent, token, path, parent.length + 1);
    parent.splice(index, 0, value);
  } else put(parent, token, value);
  return root;
}

function replace(root: unknown, path: string[], value: unknown): unknown {
  const token = path.at(-1) ?? "";
  const parent = parentOf(root, path);
  if (Array.isArray(parent)) parent[indexOf(parent, token, path, parent.length)] = value;
  else put(parent, token, value);
  return root;
}

function remove(root: unknown, path: string[]): unknown {
  const token = path.at(-1);
  if (token === undefined) return null;
  const parent = parentOf(root, path);
  if (Array.isArray(parent)) {
    parent.splice(indexOf(parent, token, path, parent.length), 1);
  } else {
    if (!Object.hasOwn(parent, token))
      throw new SchemaError(`${text(path)} cannot be removed: it does not exist`);
    delete parent[token];
  }
  return root;
}

/** RFC 7386: null removes, objects merge, everything else replaces. */
export function mergePatch<T>(object: T, patch: unknown): T {
  if (!isObject(patch)) throw new SchemaError("a JSON merge patch is an object");
  return merge(object, patch) as T;
}

function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return clone(patch);
  const result: Json = isObject(target) ? { ...target } : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else put(result, key, merge(own(result, key), value));
  }
  return result;
}
