/** What changed there comes here, as far as nothing changed here; where both did, `push` decides. */
import { UserError } from "@kws/base/errors";
import { hashHere } from "./compare.ts";
import { download, makeFolder, makeParents, removeHere, type Wanted } from "./download.ts";
import { byDepth, readable, unchanged } from "./entry.ts";
import { type FarTree, hashes, listAll, listSome } from "./far.ts";
import { isRefusal } from "./scan.ts";
import type { Session } from "./session.ts";
import type { State } from "./state.ts";

/** From so many files on, losing more than half of them at once is taken for an accident. */
const notable = 20;

/** Resolves with false where something there is still being written, and has to be looked at again. */
export async function pull(session: Session, state: State): Promise<boolean> {
  const since = performance.now();
  const { base, near, options, problems } = state;
  const far = await listAll(session, state.rules, base);
  const { changed, gone, doubtful, settled } = differences(state, far);
  for (const path of await rewritten(session, state, far, doubtful)) changed.push(path);
  changed.sort();
  refuseMassRemoval(state, far, gone);
  const untouched = (path: string): boolean => {
    if (unchanged(base.get(path)?.near, near.get(path))) return true;
    state.dirty.add(path);
    return false;
  };
  const removed = removeGone(state, gone.filter(untouched));
  const wanted = new Map<string, Wanted>();
  const written: string[] = [];
  for (const path of changed.filter(untouched)) {
    const there = far.tree.get(path);
    let here = near.get(path);
    if (here !== undefined && there !== undefined && here.kind !== there.kind) {
      if (removeGone(state, [path]).length === 0) {
        problems.set(
          path,
          `${readable(path)} became a ${there.kind} in the container, and the ${here.kind} here cannot be removed`,
        );
        continue;
      }
      here = undefined;
    }
    if (there?.kind === "folder") {
      const made = takeFolder(state, path);
      if (made === undefined) continue;
      if (made) written.push(path);
      near.set(path, there);
      base.set(path, { near: there, far: there });
    } else wanted.set(path, { to: path, expected: here });
  }
  const result = await download(session, options.local, wanted);
  for (const [path, entry] of result.written) {
    near.set(path, entry);
    base.set(path, { near: entry, far: far.tree.get(path) });
    problems.clear(path);
    written.push(path);
  }
  for (const path of result.overtaken) state.dirty.add(path);
  for (const [path, message] of result.failed) {
    problems.set(path, `${readable(path)} cannot be taken from the container: ${message}`);
  }
  const missing = [...wanted.keys()].filter(
    (path) => !result.written.has(path) && !result.failed.has(path) && !result.overtaken.includes(path),
  );
  for (const path of (await listSome(session, missing)).keys()) {
    problems.set(
      path,
      `${readable(path)} cannot be read in the container`,
      `Commands there run as user ${session.user}.`,
    );
  }
  if (written.length + removed.length > 0) {
    const milliseconds = performance.now() - since;
    const { bytes } = result;
    state.emit({ direction: "down", changed: written, gone: removed, bytes, milliseconds, initial: false });
  }
  return settled;
}

interface Differences {
  /** Folders before what is in them. */
  changed: string[];
  gone: string[];
  /** Files that may have been rewritten in the second that they arrived in. */
  doubtful: string[];
  settled: boolean;
}

function differences({ base, leftovers }: State, far: FarTree): Differences {
  const result: Differences = { changed: [], gone: [], doubtful: [], settled: true };
  for (const [path, entry] of far.tree) {
    const agreed = base.get(path);
    const isSettled = entry.kind === "folder" || (entry.ctime ?? 0) < far.at;
    if (agreed !== undefined && unchanged(agreed.far, entry)) {
      if (entry.kind !== "file" || agreed.far?.ctime !== undefined || entry.ctime !== entry.mtime)
        agreed.far = entry;
      else if (isSettled) result.doubtful.push(path);
      else result.settled = false;
    } else if (leftovers.has(path) && entry.kind === "folder") continue;
    // Within the same second it may change again without a trace, and may be half written.
    else if (!isSettled) result.settled = false;
    else result.changed.push(path);
  }
  if (!far.complete) result.settled = false;
  for (const [path, agreed] of base) {
    if (far.complete && agreed.far !== undefined && !far.tree.has(path)) result.gone.push(path);
  }
  for (const path of leftovers) if (!far.tree.has(path)) leftovers.delete(path);
  return result;
}

/** Those whose content is no longer the one here. */
async function rewritten(
  session: Session,
  { base, options }: State,
  far: FarTree,
  paths: string[],
): Promise<string[]> {
  const there = await hashes(session, paths);
  const different: string[] = [];
  for (const path of paths) {
    const agreed = base.get(path);
    if (there.get(path) !== (await hashHere(options.local, path))) different.push(path);
    else if (agreed !== undefined) agreed.far = far.tree.get(path);
  }
  return different;
}

/** A folder that vanished, or was emptied, over there must not empty the one here. */
function refuseMassRemoval({ base, options }: State, far: FarTree, gone: string[]): void {
  const here = gone.filter((path) => base.get(path)?.near !== undefined).length;
  if (here === 0) return;
  let total = 0;
  for (const agreed of base.values()) if (agreed.near !== undefined && agreed.far !== undefined) total++;
  if (far.tree.size > 0 && !(here >= notable && here * 2 > total)) return;
  throw new UserError(
    `${options.remote.name}: ${here} of ${total} synchronised files vanished from ${options.folder} at once; nothing was removed here`,
    {
      code: "conflict",
      fix: "Start the synchronisation again to send them there anew, or remove them here.",
    },
  );
}

function removeGone(state: State, paths: string[]): string[] {
  const { base, near, options, problems } = state;
  const removed: string[] = [];
  for (const path of paths.toSorted(byDepth).reverse()) {
    const agreed = base.get(path);
    if (agreed?.near === undefined) {
      base.delete(path);
      continue;
    }
    try {
      if (removeHere(options.local, path, agreed.near)) {
        base.delete(path);
        near.delete(path);
        removed.push(path);
      } else if (agreed.near.kind === "folder") base.set(path, { near: agreed.near, far: undefined });
      else state.dirty.add(path);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      problems.set(
        path,
        `${readable(path)} was removed in the container and cannot be here: ${error.message}`,
      );
    }
  }
  return removed;
}

/** True where it had to be made, undefined where it cannot be. */
function takeFolder(state: State, path: string): boolean | undefined {
  const { near, options, problems } = state;
  if (near.get(path)?.kind === "folder") return false;
  try {
    makeParents(options.local, path);
    makeFolder(options.local, path);
    return true;
  } catch (error) {
    problems.set(
      path,
      `the folder ${readable(path)} cannot be made: ${error instanceof Error ? error.message : ""}`,
    );
    return undefined;
  }
}
