/** New trees from old ones: one value set or removed, everything around it kept. */
import { SopsError } from "./errors.ts";
import { formatPath } from "./place.ts";
import type { Entry, ListNode, MapNode, TreeNode, TreePath } from "./tree.ts";

/**
 * Sets what stands at a path, as `sops set` does: missing keys are added at the end, an index behind the last item appends,
 * and a scalar in the way gives way.
 */
export function setAt(root: MapNode, path: TreePath, value: TreeNode): MapNode {
  return change(root, named(path), 0, value) as MapNode;
}

function change(node: TreeNode | undefined, path: TreePath, depth: number, value: TreeNode): TreeNode {
  if (depth === path.length) return value;
  const step = path[depth]!;
  if (typeof step === "number") {
    const list: ListNode = node?.kind === "list" ? node : { kind: "list", items: [] };
    if (node?.kind === "map") throw misplaced(path, depth, "a map, whose entries have keys and no index");
    const at = placeOfItem(list, step);
    const items = [...list.items];
    const changed = change(at === -1 ? undefined : (items[at] as TreeNode), path, depth + 1, value);
    items.splice(at === -1 ? items.length : at, at === -1 ? 0 : 1, changed);
    return { ...list, items };
  }
  if (node?.kind === "list") throw misplaced(path, depth, "a list, whose items have an index and no key");
  const map: MapNode = node?.kind === "map" ? node : { kind: "map", entries: [] };
  const at = map.entries.findLastIndex((entry) => entry.kind === "entry" && entry.key === step);
  const entries = [...map.entries];
  const old = at === -1 ? undefined : (entries[at] as Entry);
  const entry: Entry = {
    ...old,
    kind: "entry",
    key: step,
    value: change(old?.value, path, depth + 1, value),
  };
  entries.splice(at === -1 ? entries.length : at, at === -1 ? 0 : 1, entry);
  return { ...map, entries };
}

/** Removes what stands at a path; nothing there is an error. */
export function removeAt(root: MapNode, path: TreePath): MapNode {
  return remove(root, named(path), 0) as MapNode;
}

function remove(node: TreeNode, path: TreePath, depth: number): TreeNode {
  const step = path[depth];
  const isLast = depth === path.length - 1;
  if (node.kind === "map" && typeof step === "string") {
    const at = node.entries.findLastIndex((entry) => entry.kind === "entry" && entry.key === step);
    if (at === -1) throw missing(path, depth);
    const entry = node.entries[at] as Entry;
    const entries = node.entries.toSpliced(
      at,
      1,
      ...(isLast ? [] : [{ ...entry, value: remove(entry.value, path, depth + 1) }]),
    );
    return { ...node, entries };
  }
  if (node.kind === "list" && typeof step === "number") {
    const at = placeOfItem(node, step);
    if (at === -1) throw missing(path, depth);
    const rest = isLast ? [] : [remove(node.items[at] as TreeNode, path, depth + 1)];
    return { ...node, items: node.items.toSpliced(at, 1, ...rest) };
  }
  throw missing(path, depth);
}

/** Where the item with an index stands among items and comments, -1 behind the last. */
function placeOfItem(list: ListNode, index: number): number {
  let left = index;
  return list.items.findIndex((item) => item.kind !== "comment" && left-- === 0);
}

function named(path: TreePath): TreePath {
  if (path.length > 0) return path;
  throw new SopsError("errorInvalidSetFormat", "the path names nothing", { code: "usage" });
}

function missing(path: TreePath, depth: number): SopsError {
  return new SopsError("errorGeneric", `there is no ${formatPath(path.slice(0, depth + 1))} in the file`, {
    code: "not-found",
  });
}

function misplaced(path: TreePath, depth: number, what: string): SopsError {
  return new SopsError("errorInvalidSetFormat", `${formatPath(path.slice(0, depth))} is ${what}`, {
    code: "usage",
  });
}
