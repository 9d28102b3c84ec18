/**
 * The `sops` block in formats without nesting: a path is one key, `__map_` before each further key of a map and `__list_`
 * before each index.
 */
import { SopsError } from "../errors.ts";
import { itemsOf, type Entry, type MapNode, type TreeNode } from "../tree.ts";

/** Far more keys than a file has; an index beyond it would only fill the memory. */
const maxIndex = 10_000;

/** A map of scalars, in order. */
export function flatten(map: MapNode): MapNode {
  const entries: Entry[] = [];
  const add = (key: string, value: TreeNode): void => {
    if (value.kind === "map") {
      for (const entry of value.entries)
        if (entry.kind === "entry") add(`${key}__map_${entry.key}`, entry.value);
    } else if (value.kind === "list") {
      itemsOf(value).forEach((item, index) => add(`${key}__list_${index}`, item));
    } else entries.push({ kind: "entry", key, value });
  };
  for (const entry of map.entries) if (entry.kind === "entry") add(entry.key, entry.value);
  return { kind: "map", entries };
}

/** The opposite; the order of the keys does not matter. */
export function unflatten(map: MapNode): MapNode {
  const root: MapNode = { kind: "map", entries: [], at: map.at };
  for (const entry of map.entries) {
    if (entry.kind === "comment") continue;
    const steps = entry.key.split(/__(?=map_|list_)/);
    let node: TreeNode = root;
    steps.forEach((step, depth) => {
      const isLast = depth === steps.length - 1;
      const child: TreeNode = isLast
        ? entry.value
        : steps[depth + 1]!.startsWith("list_")
          ? { kind: "list", items: [] }
          : { kind: "map", entries: [] };
      const name = depth === 0 ? step : step.slice(step.indexOf("_") + 1);
      node = descend(node, depth > 0 && step.startsWith("list_") ? Number(name) : name, child, entry);
    });
  }
  return root;
}

/** The child of a node by its key or index; a missing one is put there, and null where lower indexes are not there yet. */
function descend(node: TreeNode, step: string | number, child: TreeNode, { key }: Entry): TreeNode {
  if (node.kind === "map" && typeof step === "string") {
    const known = node.entries.find((entry) => entry.kind === "entry" && entry.key === step) as
      | Entry
      | undefined;
    if (known) return known.value;
    node.entries.push({ kind: "entry", key: step, value: child });
    return child;
  }
  if (node.kind === "list" && typeof step === "number" && step >= 0 && step < maxIndex) {
    while (node.items.length <= step) node.items.push({ kind: "null" });
    if (node.items[step]!.kind === "null") node.items[step] = child;
    return node.items[step] as TreeNode;
  }
  throw new SopsError("errorGeneric", `the sops block cannot be read: ${key} contradicts another key`);
}
