/** How several Compose files, or a service and the one that it extends, become one (Compose's 13-merge.md). */
import { get, list, map, text, type Tree } from "./tree.ts";

/** Lists that are replaced as a whole. */
const replaced = /^services\.[^.]+\.(command|entrypoint|healthcheck\.test)$/;

/** Lists whose items are one and the same where these keys agree. */
const identities: [RegExp, string[]][] = [
  [/^services\.[^.]+\.ports$/, ["host_ip", "target", "published", "protocol"]],
  [/^services\.[^.]+\.volumes$/, ["target"]],
  [/^services\.[^.]+\.(configs|secrets)$/, ["target", "source"]],
  [/^services\.[^.]+\.env_file$/, ["path"]],
];

/** Both normalized. `path` is where they stand in the model. */
export function mergeTrees(base: Tree | undefined, over: Tree, path = ""): Tree {
  if (base === undefined || over.tag === "!override" || replaced.test(path)) return over;
  if (base.kind === "map" && over.kind === "map") {
    const merged = new Map(base.entries);
    for (const [key, value] of over.entries) {
      if (value.tag === "!reset") merged.delete(key);
      else merged.set(key, mergeTrees(merged.get(key), value, path === "" ? key : `${path}.${key}`));
    }
    return map(over, merged);
  }
  // An empty value takes nothing away: that is what !reset is for.
  if (over.kind === "scalar" && over.value === null && base.kind !== "scalar") return base;
  if (base.kind !== "list" || over.kind !== "list") return over;
  const keys = identities.find(([pattern]) => pattern.test(path))?.[1];
  if (keys === undefined) return list(over, unique([...base.items, ...over.items]));
  const identity = (item: Tree) => JSON.stringify(keys.map((key) => text(get(item, key)) ?? null));
  const kept = new Map(base.items.map((item) => [identity(item), item]));
  for (const item of over.items) {
    const before = kept.get(identity(item));
    kept.set(identity(item), before === undefined ? item : mergeTrees(before, item, `${path}[]`));
  }
  return list(over, [...kept.values()]);
}

/** Without the scalars that stand there already. */
function unique(items: Tree[]): Tree[] {
  const seen = new Set<unknown>();
  return items.filter((item) => {
    if (item.kind !== "scalar") return true;
    if (seen.has(item.value)) return false;
    seen.add(item.value);
    return true;
  });
}

/** What an override file takes away by itself, where there was nothing before. */
export function withoutResets(tree: Tree): Tree {
  if (tree.kind === "list") return { ...tree, items: tree.items.map(withoutResets) };
  if (tree.kind === "scalar") return tree;
  const kept = [...tree.entries].filter(([, value]) => value.tag !== "!reset");
  return { ...tree, entries: new Map(kept.map(([key, value]) => [key, withoutResets(value)])) };
}
