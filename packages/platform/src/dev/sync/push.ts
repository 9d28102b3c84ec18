/** What changed here goes there: first what must go away, then what is new, and before both, what would be lost there is kept. */
import { renameSync } from "node:fs";
import { hashHere } from "./compare.ts";
import { conflictName, download, type Wanted } from "./download.ts";
import { type Entry, isExecutable, readable, type Tree, unchanged } from "./entry.ts";
import { hashes, listSome, remove } from "./far.ts";
import { absolute } from "./scan.ts";
import type { Session } from "./session.ts";
import type { State } from "./state.ts";
import { asSent, upload } from "./upload.ts";

export interface PushResult {
  /** Paths that have to be tried again. */
  failed: string[];
}

/** `since` is when the first of the changes was seen, by `performance.now`. */
export async function push(session: Session, state: State, since: number): Promise<PushResult> {
  const candidates = [...state.dirty]
    .sort()
    .filter((path) => !unchanged(state.base.get(path)?.near, state.near.get(path)));
  state.dirty.clear();
  if (candidates.length === 0) return { failed: [] };
  try {
    if (state.options.direction === "up") return await carry(session, state, candidates, since, false);
    const { paths, unsafe } = await withoutClashes(session, state, candidates);
    const { failed } = await carry(session, state, paths, since, false);
    return { failed: [...failed, ...unsafe] };
  } catch (error) {
    // What has arrived is in the base by now; the rest is found again.
    for (const path of candidates) state.dirty.add(path);
    throw error;
  }
}

/** Makes the far side hold what is here at these paths, which are sorted. */
export async function carry(
  session: Session,
  state: State,
  paths: string[],
  since: number,
  initial: boolean,
): Promise<PushResult> {
  const { base, near, options, problems, unsure } = state;
  const gone = paths.filter((path) => !near.has(path));
  const replaced = paths.filter((path) => {
    const there = base.get(path)?.far;
    return near.has(path) && there !== undefined && there.kind !== near.get(path)?.kind;
  });
  const removed = await removeThere(session, state, [...gone, ...replaced]);
  const wanted = paths.filter((path) => near.has(path));
  for (const path of wanted) unsure.add(path);
  const { sent, failed, bytes } = await upload(session, options.local, wanted);
  for (const path of wanted) if (!failed.has(path)) unsure.delete(path);
  for (const [path, entry] of sent) {
    base.set(path, { near: entry, far: asSent(entry) });
    state.leftovers.delete(path);
    problems.clear(path);
  }
  const permission = "Permission denied";
  for (const [path, message] of failed) {
    const fix = message.includes(permission)
      ? `Commands in the container run as user ${session.user}: make ${options.folder} its own in the image, or set fsGroup.`
      : undefined;
    problems.set(path, `${readable(path)} did not arrive: ${message}`, fix);
  }
  const arrived = gone.filter((path) => removed.has(path));
  if (sent.size + arrived.length > 0 || initial) {
    const milliseconds = performance.now() - since;
    state.emit({ direction: "up", changed: sent.keys(), gone: arrived, bytes, milliseconds, initial });
  }
  return { failed: [...failed.keys(), ...gone.filter((path) => !removed.has(path))] };
}

/** The paths that are gone there now, or remain as folders of what is not synchronised. */
async function removeThere(session: Session, state: State, paths: string[]): Promise<Set<string>> {
  const { base, near, leftovers, problems } = state;
  const isFolder = (path: string): boolean =>
    (base.get(path)?.far ?? base.get(path)?.near)?.kind === "folder";
  const files = paths.filter((path) => !isFolder(path));
  const folders = paths.filter(isFolder);
  const problem = await remove(session, files, folders);
  const left = await listSome(session, problem === undefined ? folders : [...files, ...folders]);
  const removed = new Set<string>();
  for (const path of paths) {
    if (left.has(path) && !isFolder(path)) {
      problems.set(path, `${readable(path)} cannot be removed: ${problem ?? ""}`);
      continue;
    }
    removed.add(path);
    problems.clear(path);
    if (left.has(path) && !near.has(path)) leftovers.add(path);
    base.delete(path);
  }
  return removed;
}

/**
 * Both sides may have changed: keeps the version that loses. `paths` go up; at those that are `unsafe`, the far side's version
 * would be lost.
 */
async function withoutClashes(
  session: Session,
  state: State,
  candidates: string[],
): Promise<{ paths: string[]; unsafe: string[] }> {
  const { base, near, options } = state;
  const there = await listSome(session, candidates);
  const clashing = candidates.filter(
    (path) => !state.unsure.has(path) && !unchanged(base.get(path)?.far, there.get(path)),
  );
  if (clashing.length === 0) return { paths: candidates, unsafe: [] };
  const equal = await alike(session, state, clashing, there);
  const settled = new Set([...equal].filter((path) => samePermission(near.get(path), there.get(path))));
  for (const path of settled) {
    const [here, far] = [near.get(path), there.get(path)];
    if (here === undefined && far === undefined) base.delete(path);
    else base.set(path, { near: here, far });
  }
  const open = clashing.filter((path) => !settled.has(path));
  if (options.prefer === "remote") {
    for (const path of open) await giveWay(session, state, path, there.get(path));
    const lost = new Set(open);
    return { paths: candidates.filter((path) => !settled.has(path) && !lost.has(path)), unsafe: [] };
  }
  const kept = new Map<string, Wanted>();
  for (const path of open) {
    const far = there.get(path);
    if (far !== undefined && far.kind !== "folder" && !equal.has(path)) {
      kept.set(path, { to: conflictName(options.local, path), expected: undefined });
    }
  }
  const { written, failed } = await download(session, options.local, kept);
  for (const path of written.keys()) tellConflict(state, path, kept.get(path)?.to ?? path);
  const unsafe = new Set([...kept.keys()].filter((path) => !written.has(path)));
  for (const path of unsafe) {
    const reason = failed.get(path) ?? "it cannot be read there";
    state.problems.set(
      path,
      `both sides changed ${readable(path)}, and the container's version cannot be kept: ${reason}`,
    );
  }
  // The far side's kind decides what has to make room.
  for (const path of open) {
    if (!unsafe.has(path)) base.set(path, { near: base.get(path)?.near, far: there.get(path) });
  }
  const paths = candidates.filter((path) => !settled.has(path) && !unsafe.has(path));
  return { paths, unsafe: [...unsafe] };
}

function samePermission(here: Entry | undefined, there: Entry | undefined): boolean {
  return here === undefined || there === undefined || isExecutable(here) === isExecutable(there);
}

/** Those of the paths that have the same content on both sides by now. */
async function alike(
  session: Session,
  { near, options }: State,
  paths: string[],
  there: Tree,
): Promise<Set<string>> {
  const same = new Set<string>();
  const doubtful: string[] = [];
  for (const path of paths) {
    const [here, far] = [near.get(path), there.get(path)];
    if (here === undefined || far === undefined) {
      if (here === far) same.add(path);
    } else if (here.kind === far.kind && here.size === far.size) {
      if (here.kind === "folder") same.add(path);
      if (here.kind === "file") doubtful.push(path);
    }
  }
  const known = await hashes(session, doubtful);
  for (const path of doubtful) {
    const hash = known.get(path);
    if (hash !== undefined && hash === (await hashHere(options.local, path))) same.add(path);
  }
  return same;
}

/** The far side's version takes the place of the one here, which is kept beside. */
async function giveWay(session: Session, state: State, path: string, far: Entry | undefined): Promise<void> {
  const { base, near, options } = state;
  const here = near.get(path);
  if (here !== undefined && here.kind !== "folder") {
    const name = conflictName(options.local, path);
    renameSync(absolute(options.local, path), absolute(options.local, name));
    near.delete(path);
    tellConflict(state, path, name);
  }
  base.set(path, { near: undefined, far });
  if (far === undefined || far.kind === "folder") return;
  const result = await download(session, options.local, new Map([[path, { to: path, expected: undefined }]]));
  const written = result.written.get(path);
  if (written !== undefined) near.set(path, written);
  base.set(path, { near: written, far });
  for (const [failed, message] of result.failed) state.problems.set(failed, message);
}

function tellConflict(state: State, path: string, copy: string): void {
  state.conflicts.push(readable(copy));
  state.log.warn("both sides changed a file: the version that gave way is kept beside", {
    path: readable(path),
    kept: readable(copy),
  });
}
