/** Walks a Compose model along the table of keys, and reports what it does not have and what cannot be carried over. */
import { nearest } from "../../project/nearest.ts";
import type { Finding } from "../finding.ts";
import { type KeyRow, keyRows } from "./keys.ts";
import type { Tree } from "./tree.ts";

interface KeyNode {
  row?: KeyRow;
  keys: Map<string, KeyNode>;
}

function known(): KeyNode {
  const root: KeyNode = { keys: new Map() };
  for (const row of keyRows) {
    let node = root;
    for (const part of row[0].split(".")) {
      const next = node.keys.get(part) ?? { keys: new Map<string, KeyNode>() };
      node.keys.set(part, next);
      node = next;
    }
    node.row = row;
  }
  return root;
}

/** Keys that begin with `x-` are extensions, which say nothing to Compose. */
export function checkKeys(model: Tree): Finding[] {
  return walk(model, known());
}

function walk(tree: Tree, { keys }: KeyNode): Finding[] {
  const any = keys.get("*");
  if (tree.kind === "list") return any === undefined ? [] : tree.items.flatMap((item) => walk(item, any));
  if (tree.kind !== "map" || keys.size === 0) return [];
  return [...tree.entries].flatMap(([key, value]): Finding[] => {
    if (key.startsWith("x-")) return [];
    const node = any ?? keys.get(key);
    if (node === undefined) return [unknownKey(key, value, [...keys.keys()])];
    if (node.row?.[1] === "no") {
      const [, , note] = node.row;
      return isEmpty(value)
        ? []
        : [{ severity: "warning", key: value.path, at: value.at(), message: `${key} is left out: ${note}` }];
    }
    return walk(value, node);
  });
}

function unknownKey(key: string, { path, at }: Tree, names: string[]): Finding {
  const close = nearest(key, names);
  return {
    severity: "error",
    key: path,
    at: at(),
    message: `${JSON.stringify(key)} is no key of Compose files, and is left out`,
    ...(close === undefined ? {} : { fix: `Did you mean "${close}"?` }),
  };
}

/** What is false or empty asks for nothing. */
function isEmpty(tree: Tree): boolean {
  if (tree.kind === "list") return tree.items.length === 0;
  if (tree.kind === "map") return tree.entries.size === 0;
  return tree.value === null || tree.value === false || tree.value === "";
}
