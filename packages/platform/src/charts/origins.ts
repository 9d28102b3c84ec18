/** Where each value of a chart comes from: which layer decided, at which place, and what it won over. */
import { keyPath, type KeyPath } from "../project/key-path.ts";
import { effectiveValues, isMapping, type OpenLayer, type Values } from "./layers.ts";

/** What one layer says of a key. */
export interface Origin {
  layer: OpenLayer;
  /** `file:line:column`. */
  at: string;
  /** Undefined where the layer has no such key, but null or a scalar or a list above it. */
  value: unknown;
}

/** One value that the templates see, or would see if no layer had taken it away. A list is one value, as Helm merges. */
export interface Leaf {
  keys: string[];
  /** Taken away by its origin. */
  removed: boolean;
  origin: Origin;
  /** The other layers that have a value for it, the last one first. */
  overridden: Origin[];
}

/** All leaves: those that the templates see, in the order of the merged values, and then those that were taken away. */
export function leavesOf(layers: OpenLayer[]): Leaf[] {
  const kept = leafKeys(effectiveValues(layers));
  const all = layers.flatMap(({ values }) => leafKeys(values));
  const leaves = new Set(kept.map(keyPath));
  const mappings = new Set([...kept, ...all].flatMap((keys) => prefixes(keys).slice(0, -1)).map(keyPath));
  const removed = new Map(
    all
      .filter(
        (keys) =>
          !mappings.has(keyPath(keys)) &&
          !prefixes(keys)
            .map(keyPath)
            .some((key) => leaves.has(key)),
      )
      .map((keys) => [keyPath(keys), keys]),
  );
  return [
    ...kept.map((keys) => leafAt(layers, keys, false)),
    ...[...removed.values()].map((keys) => leafAt(layers, keys, true)),
  ];
}

function leafKeys(values: Values, above: string[] = []): string[][] {
  return Object.entries(values).flatMap(([key, value]) => {
    const keys = [...above, key];
    return isMapping(value) && Object.keys(value).length > 0 ? leafKeys(value, keys) : [keys];
  });
}

/** `a.b` → `a`, `a.b`. */
function prefixes(keys: string[]): string[][] {
  return keys.map((_, index) => keys.slice(0, index + 1));
}

function leafAt(layers: OpenLayer[], keys: string[], removed: boolean): Leaf {
  const said = layers.map((layer) => mentionOf(layer, keys)).filter((origin) => origin !== undefined);
  // What stands over the defaults is merged first. Where it first takes a mapping away and then has one again, the defaults
  // show through that.
  const last = said.findLast(({ layer }) => layer.kind !== "defaults");
  const origin = removed || last?.value !== undefined ? last : said[0];
  if (origin === undefined) throw new Error(`no layer has ${keyPath(keys)}`);
  const overridden = said.filter((other) => other !== origin && other.value !== undefined).reverse();
  return { keys, removed, origin, overridden };
}

function mentionOf(layer: OpenLayer, keys: string[]): Origin | undefined {
  let value: unknown = layer.values;
  for (const [index, key] of keys.entries()) {
    if (!isMapping(value)) return { layer, at: layer.at(keys.slice(0, index)), value: undefined };
    if (!Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return { layer, at: layer.at(keys), value };
}

/** The leaf at a key, or all below it. What stands in a list is part of that one value. */
export function leavesAt(leaves: Leaf[], path: KeyPath): Leaf[] {
  const index = path.findIndex((part) => typeof part === "number");
  const key = keyPath(index === -1 ? path : path.slice(0, index));
  return leaves.filter(({ keys }) => prefixes(keys).some((prefix) => keyPath(prefix) === key));
}
