/**
 * Three-way merge of what configuration files say, key by key: what one side changed is taken, what both changed differently is
 * a conflict, of which our side is kept. Lists and scalars are taken as a whole.
 */
import { type Comment, type Entry, type MapNode, same, type TreeNode, type TreePath } from "@kws/sops/tree";

export interface MergedDocuments {
  documents: MapNode[];
  /** Where both sides changed the same; empty for the file as a whole. */
  conflicts: TreePath[];
}

export interface Sides<T> {
  base: T;
  ours: T;
  theirs: T;
}

/** Documents are merged one by one where all three have the same number of them, else as a whole. */
export function mergeDocuments({ base, ours, theirs }: Sides<readonly MapNode[]>): MergedDocuments {
  const conflicts: TreePath[] = [];
  if (base.length === ours.length && ours.length === theirs.length) {
    const documents = ours.map((one, index) =>
      mergeMaps({ base: base[index], ours: one, theirs: theirs[index] ?? one }, [], conflicts),
    );
    return { documents, conflicts };
  }
  if (base.length === 0 && ours.length === 1 && theirs.length === 1)
    return mergeDocuments({ base: [{ kind: "map", entries: [] }], ours, theirs });
  if (sameDocuments(ours, theirs) || sameDocuments(base, theirs)) return { documents: [...ours], conflicts };
  if (!sameDocuments(base, ours)) conflicts.push([]);
  return { documents: [...(conflicts.length === 0 ? theirs : ours)], conflicts };
}

function sameDocuments(some: readonly MapNode[], others: readonly MapNode[]): boolean {
  return some.length === others.length && some.every((one, index) => same(one, others[index] ?? one));
}

type Part = TreeNode | undefined;

/** Undefined is a value that is not there. */
function mergeNodes({ base, ours, theirs }: Sides<Part>, path: TreePath, conflicts: TreePath[]): Part {
  if (alike(ours, theirs) || alike(base, theirs)) return ours;
  if (alike(base, ours)) return theirs;
  if (ours?.kind === "map" && theirs?.kind === "map")
    return mergeMaps({ base: base?.kind === "map" ? base : undefined, ours, theirs }, path, conflicts);
  conflicts.push(path);
  return ours;
}

function alike(one: Part, other: Part): boolean {
  return one === undefined || other === undefined ? one === other : same(one, other);
}

/** An entry with the comments above it. */
interface Section {
  entry: Entry;
  comments: Comment[];
}

interface Sections {
  byKey: Map<string, Section>;
  /** Below the last entry. */
  tail: Comment[];
}

function mergeMaps(
  sides: { base: MapNode | undefined; ours: MapNode; theirs: MapNode },
  path: TreePath,
  conflicts: TreePath[],
): MapNode {
  const base = sectionsOf(sides.base ?? { kind: "map", entries: [] });
  const ours = sectionsOf(sides.ours);
  const theirs = sectionsOf(sides.theirs);
  const entries: MapNode["entries"] = [];
  for (const key of mergedOrder(ours, theirs)) {
    const [before, own, other] = [base.byKey.get(key), ours.byKey.get(key), theirs.byKey.get(key)];
    const value = mergeNodes(
      { base: before?.entry.value, ours: own?.entry.value, theirs: other?.entry.value },
      [...path, key],
      conflicts,
    );
    const entry = own?.entry ?? other?.entry;
    if (value === undefined || entry === undefined) continue;
    const comments = mergeComments({
      base: before?.comments ?? [],
      ours: own?.comments ?? other?.comments ?? [],
      theirs: other?.comments ?? own?.comments ?? [],
    });
    entries.push(...comments, { ...entry, value });
  }
  const tail = mergeComments({ base: base.tail, ours: ours.tail, theirs: theirs.tail });
  return { ...sides.ours, entries: [...entries, ...tail] };
}

/** The last entry counts where a format allows a key twice. */
function sectionsOf(map: MapNode): Sections {
  const byKey = new Map<string, Section>();
  let comments: Comment[] = [];
  for (const entry of map.entries) {
    if (entry.kind === "comment") comments.push(entry);
    else {
      byKey.set(entry.key, { entry, comments });
      comments = [];
    }
  }
  return { byKey, tail: comments };
}

/** Our keys in our order, each key that only they have behind the one that it follows there. */
function mergedOrder(ours: Sections, theirs: Sections): string[] {
  const order = [...ours.byKey.keys()];
  let previous: string | undefined;
  for (const key of theirs.byKey.keys()) {
    if (!ours.byKey.has(key)) order.splice(previous === undefined ? 0 : order.indexOf(previous) + 1, 0, key);
    previous = key;
  }
  return order;
}

/** Comments never conflict: where both sides changed them, both versions stay. */
function mergeComments({ base, ours, theirs }: Sides<Comment[]>): Comment[] {
  const text = (comments: Comment[]) => JSON.stringify(comments.map((one) => one.text));
  if (text(base) === text(theirs)) return ours;
  if (text(base) === text(ours)) return theirs;
  return [...ours, ...theirs.filter((one) => !ours.some((own) => own.text === one.text))];
}
