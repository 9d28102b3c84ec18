/**
 * What a folder holds, as both sides of a synchronisation describe it.
 *
 * Paths are relative to the folder, with slashes, and hold one character for each byte ("latin1"): file names on Linux are
 * bytes, and need not be UTF-8. `readable` makes text of them.
 */

export type Kind = "file" | "folder" | "link";

export interface Entry {
  kind: Kind;
  /** Bytes; of a link, the length of its target. */
  size: number;
  /** Milliseconds; whole seconds on the far side. */
  mtime: number;
  /** When the inode changed: milliseconds; whole seconds on the far side. Undefined until it is known. */
  ctime: number | undefined;
  /** Permission bits, `0o777` at most. */
  mode: number;
}

export type Tree = Map<string, Entry>;

/** Whether nothing was done to a file between two looks at the same side. */
export function unchanged(before: Entry | undefined, now: Entry | undefined): boolean {
  if (before === undefined || now === undefined) return before === now;
  if (before.kind !== now.kind) return false;
  if (now.kind === "folder") return true;
  const sameInode = before.ctime === undefined || now.ctime === undefined || before.ctime === now.ctime;
  // What sets a link's time differs between implementations of tar; its ctime tells that it was replaced.
  const sameTime = now.kind === "link" || before.mtime === now.mtime;
  return sameInode && sameTime && before.size === now.size && isExecutable(before) === isExecutable(now);
}

export function isExecutable(entry: Entry): boolean {
  return entry.kind === "file" && (entry.mode & 0o100) !== 0;
}

/** The path's bytes. */
export function bytesOf(path: string): Buffer {
  return Buffer.from(path, "latin1");
}

/** For people and for patterns; bytes that are not UTF-8 become U+FFFD. */
export function readable(path: string): string {
  return bytesOf(path).toString("utf8");
}

/** The reverse of `readable`, for paths that came as text. */
export function fromText(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The folder that holds it; `""` for the root itself. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "" : path.slice(0, slash);
}

/** Folders before what is in them. */
export function byDepth(a: string, b: string): number {
  return depth(a) - depth(b);
}

function depth(path: string): number {
  let slashes = 0;
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) slashes++;
  return slashes;
}
