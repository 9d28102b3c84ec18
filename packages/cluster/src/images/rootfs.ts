/**
 * Reads an image's file system without mounting it: the union of its unpacked layers, with whiteouts (character devices
 * 0/0) and with symbolic links resolved inside the image, never outside.
 */
import type { Stats } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join, posix } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { LayerEntry } from "./layer.ts";

export interface Located {
  /** Path in the image without a leading slash, all links on the way resolved; "" is the root. */
  path: string;
  /** Where it lies on disk; for a directory, in the highest layer that has it. */
  file: string;
  stats: Stats;
}

const maxLinks = 40;

export function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

async function lstatOrNone(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return undefined;
    throw error;
  }
}

/**
 * The layers that take part in a directory whose path has no links: the highest first. Empty where a layer hides it or
 * none has it.
 */
async function participants(layers: string[], path: string): Promise<string[]> {
  let current = layers.toReversed();
  for (const part of path === "" ? [] : path.split("/")) {
    const next: string[] = [];
    for (const directory of current) {
      const stats = await lstatOrNone(join(directory, part));
      if (stats === undefined) continue;
      if (!stats.isDirectory()) break;
      next.push(join(directory, part));
    }
    current = next;
  }
  return current;
}

/** Names in the directory as the image shows them, sorted; none where it is not a directory. Links are not followed. */
export async function listDirectory(layers: string[], path: string): Promise<string[]> {
  const seen = new Map<string, boolean>();
  for (const directory of await participants(layers, path)) {
    for (const name of await readdir(directory)) {
      if (seen.has(name)) continue;
      const stats = await lstatOrNone(join(directory, name));
      seen.set(name, stats !== undefined && !isWhiteout(stats));
    }
  }
  return [...seen]
    .filter(([, shown]) => shown)
    .map(([name]) => name)
    .toSorted();
}

async function entryOf(layers: string[], directory: string, name: string) {
  for (const folder of await participants(layers, directory)) {
    const file = join(folder, name);
    const stats = await lstatOrNone(file);
    if (stats === undefined) continue;
    return isWhiteout(stats) ? undefined : { file, stats };
  }
  return undefined;
}

/** The file at the path; the last component's own link is followed unless `follow` is false. */
export async function locate(layers: string[], path: string, follow = true): Promise<Located | undefined> {
  const resolved = await resolveInside(layers, path, follow);
  return resolved.located;
}

/**
 * The path with every link on the way resolved, as far as it exists; what does not exist is kept as written. A path
 * that climbs above the root stays at the root, as in a container.
 */
export async function resolveInside(
  layers: string[],
  path: string,
  follow = true,
): Promise<{ path: string; located: Located | undefined }> {
  const todo = posix.normalize(`/${path}`).split("/").filter(Boolean);
  let at = "";
  let links = 0;
  let located: Located | undefined = await rootOf(layers);
  while (todo.length > 0) {
    const part = todo.shift() ?? "";
    if (part === "..") {
      at = at.includes("/") ? posix.dirname(at) : "";
      located = undefined;
      if (todo.length === 0) return resolveInside(layers, at, follow);
      continue;
    }
    const entry = await entryOf(layers, at, part);
    if (entry === undefined) {
      return { path: posix.join(at, part, ...todo), located: undefined };
    }
    if (entry.stats.isSymbolicLink() && (follow || todo.length > 0)) {
      links += 1;
      if (links > maxLinks) throw new Error(`/${path} has too many levels of symbolic links`);
      const target = await readlink(entry.file);
      if (target.startsWith("/")) at = "";
      todo.unshift(...target.split("/").filter((name) => name !== "" && name !== "."));
      if (todo.length === 0) return resolveInside(layers, at, follow);
      continue;
    }
    at = at === "" ? part : `${at}/${part}`;
    located = { path: at, ...entry };
  }
  return { path: at, located };
}

async function rootOf(layers: string[]): Promise<Located | undefined> {
  const file = layers.at(-1);
  const stats = file === undefined ? undefined : await lstatOrNone(file);
  return file === undefined || stats === undefined ? undefined : { path: "", file, stats };
}

/** A text file of the image; undefined where there is none. */
export async function readText(layers: string[], path: string): Promise<string | undefined> {
  const located = await locate(layers, path);
  if (located === undefined || !located.stats.isFile()) return undefined;
  return readFile(located.file, "utf8");
}

/** Everything under the path of the image, the path itself first; links are not followed. */
export async function walk(layers: string[], path: string): Promise<Located[]> {
  const start = await locate(layers, path, false);
  if (start === undefined) return [];
  const found: Located[] = [start];
  if (start.stats.isDirectory()) {
    for (const name of await listDirectory(layers, start.path)) {
      found.push(...(await walk(layers, posix.join(start.path, name))));
    }
  }
  return found;
}

/** Directory entries for the path and its parents as the image has them, so that a layer above leaves them unchanged. */
export async function parentEntries(
  layers: string[],
  path: string,
  fresh: { uid: number; gid: number },
): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [];
  const parts = path.split("/").filter(Boolean);
  for (let count = 1; count <= parts.length; count += 1) {
    const parent = parts.slice(0, count).join("/");
    const located = await locate(layers, parent, false);
    const stats = located?.stats;
    entries.push(
      stats === undefined || !stats.isDirectory()
        ? { path: parent, type: "directory", ...fresh }
        : { path: parent, type: "directory", mode: stats.mode & 0o7777, ...ownerOf(stats) },
    );
  }
  return entries;
}

/** The owner inside the image: an ordinary user's own files are root's there. */
export function ownerOf(stats: Stats): { uid: number; gid: number } {
  return process.getuid?.() === 0 ? { uid: stats.uid, gid: stats.gid } : { uid: 0, gid: 0 };
}
