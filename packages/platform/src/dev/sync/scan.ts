/** Looking at a folder of this machine: what is there, without following links and without what is left out. */
import { lstatSync, readdirSync, type Stats } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { isErrno } from "@kws/base/errors";
import { bytesOf, type Entry, fromText, type Kind } from "./entry.ts";
import type { IgnoreRules } from "./ignore.ts";

export interface Found {
  entry: Entry;
  /** Differs from that of another file or folder at the same path before: inode numbers alone are used again. */
  identity: string;
}

/** The bytes of the absolute path; `""` is the root itself. */
export function absolute(root: string, path: string): Buffer {
  return bytesOf(path === "" ? fromText(root) : `${fromText(root)}/${path}`);
}

/** Undefined where there is nothing, or something that is no file, folder or link. */
export function lookAt(root: string, path: string): Found | undefined {
  try {
    const stats = lstatSync(absolute(root, path), { throwIfNoEntry: false });
    const entry = stats === undefined ? undefined : entryOf(stats);
    return stats === undefined || entry === undefined
      ? undefined
      : { entry, identity: `${stats.ino}:${stats.birthtimeMs}` };
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return undefined;
    throw error;
  }
}

export function entryOf(stats: Stats): Entry | undefined {
  const kind = kindOf(stats);
  if (kind === undefined) return undefined;
  return { kind, size: stats.size, mtime: stats.mtimeMs, ctime: stats.ctimeMs, mode: stats.mode & 0o777 };
}

function kindOf(stats: Stats): Kind | undefined {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "folder";
  return stats.isSymbolicLink() ? "link" : undefined;
}

/** True for what the operating system refuses. */
export function isRefusal(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}

export interface ScanVisitor {
  /** Told of each folder before it is read, so that a watch that begins here misses nothing. */
  onFolder?(path: string, identity: string): void;
  /** Told of folders that cannot be read. */
  onUnreadable?(path: string, error: Error): void;
}

/** Entries between two turns for others: about 10 ms. */
const slice = 1000;

/** Yields everything below a folder, folders first. Calls of the file system are synchronous: ten times as fast for many. */
export async function* scan(
  root: string,
  rules: IgnoreRules,
  from: string,
  visitor: ScanVisitor = {},
): AsyncGenerator<[path: string, found: Found]> {
  const folders = [{ path: from, identity: lookAt(root, from)?.identity ?? "" }];
  let seen = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    visitor.onFolder?.(folder.path, folder.identity);
    for (const name of namesIn(root, folder.path, visitor)) {
      const path = folder.path === "" ? name : `${folder.path}/${name}`;
      const found = lookAt(root, path);
      if (++seen % slice === 0) await setImmediate();
      if (found === undefined || rules.ignores(path, found.entry.kind === "folder")) continue;
      yield [path, found];
      if (found.entry.kind === "folder") folders.push({ path, identity: found.identity });
    }
  }
}

function namesIn(root: string, path: string, visitor: ScanVisitor): string[] {
  try {
    return readdirSync(absolute(root, path), { encoding: "latin1" });
  } catch (error) {
    // Gone since, or no longer a folder: what removed it is seen by whoever watches.
    if (!isErrno(error, "ENOENT", "ENOTDIR")) visitor.onUnreadable?.(path, error as Error);
    return [];
  }
}
