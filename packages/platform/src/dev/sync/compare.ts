/** The comparison of two folders that know nothing of each other: at the start, and with another container after a restart. */
import { createHash } from "node:crypto";
import { constants, createReadStream, openSync } from "node:fs";
import { type Entry, isExecutable, type Tree } from "./entry.ts";
import { hashes } from "./far.ts";
import { absolute, isRefusal } from "./scan.ts";
import type { Session } from "./session.ts";

export interface Comparison {
  /** The same on both sides. */
  same: string[];
  /** Different, or here alone. */
  differ: string[];
  /** There alone. */
  farOnly: string[];
}

/** Files at a time whose hashes are asked for. */
const portion = 2000;

/**
 * Files are the same that agree in size, permission to execute, and time to the second, as rsync has it; where only the times
 * differ (images do not keep them), their hashes decide.
 */
export async function compare(session: Session, root: string, near: Tree, far: Tree): Promise<Comparison> {
  const result: Comparison = { same: [], differ: [], farOnly: [] };
  const doubtful: string[] = [];
  for (const [path, here] of near) {
    const there = far.get(path);
    const verdict = there === undefined ? false : sameAtAGlance(here, there);
    if (verdict === undefined) doubtful.push(path);
    else (verdict ? result.same : result.differ).push(path);
  }
  for (let at = 0; at < doubtful.length; at += portion) {
    const paths = doubtful.slice(at, at + portion);
    const there = await hashes(session, paths);
    for (const path of paths) {
      const hash = there.get(path);
      const equal = hash !== undefined && hash === (await hashHere(root, path));
      (equal ? result.same : result.differ).push(path);
    }
  }
  for (const path of far.keys()) if (!near.has(path)) result.farOnly.push(path);
  return result;
}

/** Undefined where only the content can tell. */
function sameAtAGlance(here: Entry, there: Entry): boolean | undefined {
  if (here.kind !== there.kind) return false;
  if (here.kind === "folder") return true;
  if (here.kind === "link" || here.size !== there.size || isExecutable(here) !== isExecutable(there))
    return false;
  return here.size === 0 || Math.floor(here.mtime / 1000) * 1000 === there.mtime ? true : undefined;
}

/** Undefined where the file cannot be read. */
export async function hashHere(root: string, path: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    const fd = openSync(
      absolute(root, path),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    for await (const chunk of createReadStream("", { fd })) hash.update(chunk as Buffer);
    return hash.digest("hex");
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
