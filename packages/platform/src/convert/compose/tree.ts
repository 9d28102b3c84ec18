/** A Compose file's values with the place of each, which merging, interpolation and `extends` keep. */
import { UserError } from "@kws/base/errors";
import type { YamlFile } from "../../project/yaml-file.ts";

export type Scalar = string | number | boolean | null;

interface Place {
  /** In the model, such as `services.web.ports[0]`. */
  path: string;
  /** `file:line:column`. */
  at: () => string;
  /** `!reset` takes away what other files say, `!override` replaces it. */
  tag?: "!reset" | "!override";
}

export type Tree = Place &
  (
    | { kind: "scalar"; value: Scalar }
    | { kind: "list"; items: Tree[] }
    | { kind: "map"; entries: Map<string, Tree> }
  );

export type MapTree = Extract<Tree, { kind: "map" }>;

/** The tree of a parsed file. */
export function toTree(file: YamlFile, value: unknown = file.value, keys: (string | number)[] = []): Tree {
  const tag = file.tag(keys);
  const place: Place = {
    path: pathOf(keys),
    at: () => file.at(keys, true),
    ...(tag === "!reset" || tag === "!override" ? { tag } : {}),
  };
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, index) => toTree(file, item, [...keys, index]));
    return { ...place, kind: "list", items };
  }
  if (typeof value === "object" && value !== null) {
    const entries = new Map(
      Object.entries(value).map(([key, item]) => [key, toTree(file, item, [...keys, key])]),
    );
    return { ...place, kind: "map", entries };
  }
  return { ...place, kind: "scalar", value: (value ?? null) as Scalar };
}

function pathOf(keys: readonly (string | number)[]): string {
  return keys
    .map((key) => (typeof key === "number" ? `[${key}]` : key))
    .join(".")
    .replaceAll(".[", "[");
}

/** Trees made from another one's text stand where that one stands. */
export function scalar(place: Place, value: Scalar): Tree {
  return { path: place.path, at: place.at, kind: "scalar", value };
}

export function list(place: Place, items: Tree[]): Tree {
  return { ...tagged(place), kind: "list", items };
}

export function map(place: Place, entries: Iterable<[string, Tree | undefined]>): MapTree {
  const given = [...entries].filter((entry): entry is [string, Tree] => entry[1] !== undefined);
  return { ...tagged(place), kind: "map", entries: new Map(given) };
}

function tagged({ path, at, tag }: Place): Place {
  return { path, at, ...(tag === undefined ? {} : { tag }) };
}

/** What is under the keys; undefined where there is nothing, or null. */
export function get(tree: Tree | undefined, ...keys: string[]): Tree | undefined {
  let found = tree;
  for (const key of keys) {
    if (found?.kind !== "map") return undefined;
    found = found.entries.get(key);
  }
  return found?.kind === "scalar" && found.value === null ? undefined : found;
}

/** A copy with one key set, or with `undefined` removed. */
export function withKey(tree: MapTree, key: string, value: Tree | undefined): MapTree {
  const entries = new Map(tree.entries);
  if (value === undefined) entries.delete(key);
  else entries.set(key, value);
  return { ...tree, entries };
}

export function wrong(tree: Tree, expected: string): UserError {
  const label = tree.path === "" ? "the file" : tree.path;
  const shown =
    tree.kind === "scalar" ? JSON.stringify(tree.value) : tree.kind === "list" ? "a list" : "a mapping";
  return new UserError(`${label} must be ${expected}, not ${shown}`, { code: "config", at: tree.at() });
}

/** The text of a scalar; numbers and booleans as they are written. */
export function text(tree: Tree | undefined): string | undefined {
  if (tree === undefined) return undefined;
  if (tree.kind !== "scalar") throw wrong(tree, "text");
  return tree.value === null ? undefined : String(tree.value);
}

export function flag(tree: Tree | undefined): boolean | undefined {
  const value = text(tree);
  if (value === undefined || tree === undefined) return undefined;
  if (/^(true|yes|on|1)$/i.test(value)) return true;
  if (/^(false|no|off|0|)$/i.test(value)) return false;
  throw wrong(tree, "true or false");
}

export function number(tree: Tree | undefined): number | undefined {
  const value = text(tree);
  if (value === undefined || value === "" || tree === undefined) return undefined;
  const result = Number(value);
  if (Number.isFinite(result)) return result;
  throw wrong(tree, "a number");
}

/** The items of a list; a lone scalar is one item. */
export function items(tree: Tree | undefined): Tree[] {
  if (tree === undefined) return [];
  if (tree.kind === "list") return tree.items;
  if (tree.kind === "scalar") return tree.value === null ? [] : [tree];
  throw wrong(tree, "a list");
}

export function texts(tree: Tree | undefined): string[] {
  return items(tree).flatMap((item) => text(item) ?? []);
}

export function entries(tree: Tree | undefined): [string, Tree][] {
  if (tree === undefined || (tree.kind === "scalar" && tree.value === null)) return [];
  if (tree.kind !== "map") throw wrong(tree, "a mapping");
  return [...tree.entries];
}

/** Every scalar made anew. */
export function mapScalars(tree: Tree, change: (value: string, place: Tree) => string): Tree {
  if (tree.kind === "scalar")
    return typeof tree.value === "string" ? { ...tree, value: change(tree.value, tree) } : tree;
  if (tree.kind === "list") return { ...tree, items: tree.items.map((item) => mapScalars(item, change)) };
  return {
    ...tree,
    entries: new Map([...tree.entries].map(([key, item]) => [key, mapScalars(item, change)])),
  };
}
