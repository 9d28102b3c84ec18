/** What is asked of the far side: what is there, and to write, remove and hand over files. */
import { byDepth, bytesOf, type Entry, type Kind, parentOf, type Tree } from "./entry.ts";
import type { IgnoreRules } from "./ignore.ts";
import type { Payload, Session } from "./session.ts";

export interface FarTree {
  tree: Tree;
  /** False where something could not be looked at: what is missing may be there. */
  complete: boolean;
  /** The far side's clock when it began to look: whole seconds, as milliseconds. */
  at: number;
}

/** Everything below the folder that is not left out; what is `known` not to be is not asked about again. */
export async function listAll(
  session: Session,
  rules: IgnoreRules,
  known: { has(path: string): boolean },
): Promise<FarTree> {
  const { status, output } = await session.run(`date +%s; ${listing(session, rules)}`);
  const text = output.toString("latin1");
  return {
    complete: status === 0,
    at: Number(text.slice(0, text.indexOf("\n"))) * 1000,
    tree: parse(session, text, (path, kind) =>
      known.has(path) ? false : rules.ignores(path, kind === "folder"),
    ),
  };
}

/** A checksum over everything that `listAll` would list: one line instead of all. Undefined where nothing there makes one. */
export async function checksum(session: Session, rules: IgnoreRules): Promise<string | undefined> {
  const { output } = await session.run(`{ ${listing(session, rules)}; } | sha256sum`);
  return output.toString("latin1").trim() || undefined;
}

/** Those of the paths that are there. */
export async function listSome(session: Session, paths: string[]): Promise<Tree> {
  if (paths.length === 0) return new Map();
  const { output } = await session.run(`xargs -0 ${stat(session)} 2>/dev/null`, list(paths));
  return parse(session, output.toString("latin1"));
}

/** SHA-256 of files, in hexadecimal; without those that cannot be read, or whose names it would have to escape. */
export async function hashes(session: Session, paths: string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  if (paths.length === 0) return found;
  const { output } = await session.run("xargs -0 sha256sum -- 2>/dev/null", list(paths));
  for (const line of output.toString("latin1").split("\n")) {
    const match = /^([0-9a-f]{64}) [ *]\.\/(.+)$/.exec(line);
    if (match !== null) found.set(match[2]!, match[1]!);
  }
  return found;
}

/** Extracts an archive. Returns what tar has to say, where it failed. */
export async function extract(session: Session, archive: Payload): Promise<string | undefined> {
  return problemOf(await session.run("tar -xpof - 2>&1", archive));
}

/**
 * Extracts an archive without folders so that each file takes the place of an older one at once: a program that runs finds the
 * old one or the new one, where tar alone removes the old one first.
 */
export async function replace(session: Session, archive: Payload): Promise<string | undefined> {
  return problemOf(await session.run(replacing, archive));
}

/** `ownNames` keeps the folder from being taken for the user's. */
const beside = "./.kws-sync-in";
/** Where nothing can be put beside the files, they are written in place. A file never goes into a folder that a link leads to. */
const replacing = [
  `rm -rf ${beside}`,
  `if mkdir ${beside} 2>/dev/null && command -v mv >/dev/null`,
  `then tar -xpof - -C ${beside} 2>&1`,
  "failed=$?",
  `(cd ${beside} && find . ! -type d -exec sh -c '${[
    "failed=0",
    'for file do if [ -L "../$file" ]',
    'then rm -f -- "../$file"',
    'elif [ -d "../$file" ]',
    'then rmdir -- "../$file"',
    'fi && mv -f -- "$file" "../$file" || failed=1',
    "done",
    "exit $failed",
  ].join("; ")}' sh {} + 2>&1) || failed=1`,
  `rm -rf ${beside}`,
  "(exit $failed)",
  "else tar -xpof - 2>&1",
  "fi",
].join("; ");

function problemOf({ status, output }: { status: number; output: Buffer }): string | undefined {
  return status === 0 ? undefined : output.toString("utf8").trim() || `tar ended with ${status}`;
}

/** Removes files and links, then folders where nothing is left in them. Returns what could not be, as said there. */
export async function remove(
  session: Session,
  files: string[],
  folders: string[],
): Promise<string | undefined> {
  let problem: string | undefined;
  if (files.length > 0) {
    const { status, output } = await session.run("xargs -0 rm -f -- 2>&1", list(files));
    if (status !== 0) problem = output.toString("utf8").trim();
  }
  if (folders.length > 0) {
    const deepestFirst = folders.toSorted(byDepth).reverse();
    await session.run("xargs -0 rmdir -- 2>/dev/null", list(deepestFirst));
  }
  return problem;
}

/** Hands over files and links as one or more archives after each other. */
export async function fetchArchive(
  session: Session,
  paths: string[],
  consume: (archive: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  await session.stream("xargs -0 tar -cf - -- 2>/dev/null", list(paths), consume);
}

function listing(session: Session, rules: IgnoreRules): string {
  const names = rules.everywhere.map((name) => `-name '${name}'`).join(" -o ");
  const prune = names === "" ? "" : `\\( ${names} \\) -prune -o `;
  return `find . ${prune}-exec ${stat(session)} {} + 2>/dev/null`;
}

/** Mode in hexadecimal, size, mtime and ctime in seconds, and the name. */
function stat(session: Session): string {
  return `stat -c '${session.word}:%f %s %Y %Z %n'`;
}

/** Names separated by NUL, as `xargs -0` reads them; with `./`, none is an option. */
function list(paths: string[]): Payload {
  const bytes = bytesOf(paths.map((path) => `./${path}\0`).join(""));
  return { length: bytes.length, chunks: [bytes] };
}

function parse(session: Session, text: string, ignores?: (path: string, kind: Kind) => boolean): Tree {
  const tree: Tree = new Map();
  const leftOut = new Set<string>();
  for (const record of text.split(`${session.word}:`).slice(1)) {
    const match = /^([0-9a-f]+) (\d+) (-?\d+) (-?\d+) \.\/([^]+)$/.exec(record.replace(/\n$/, ""));
    if (match === null) continue;
    const [, mode, size, mtime, ctime, path] = match as unknown as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const entry = entryOf(Number.parseInt(mode, 16), Number(size), Number(mtime), Number(ctime));
    if (entry === undefined || !isInside(path)) continue;
    if (ignores !== undefined && isLeftOut(path, entry, ignores, leftOut)) continue;
    tree.set(path, entry);
  }
  return tree;
}

/** `find` lists a folder before what is in it. */
function isLeftOut(
  path: string,
  entry: Entry,
  ignores: (path: string, kind: Kind) => boolean,
  leftOut: Set<string>,
): boolean {
  const out = leftOut.has(parentOf(path)) || ignores(path, entry.kind);
  if (out && entry.kind === "folder") leftOut.add(path);
  return out;
}

function entryOf(mode: number, size: number, mtime: number, ctime: number): Entry | undefined {
  const times = { mtime: mtime * 1000, ctime: ctime * 1000, mode: mode & 0o777 };
  const type = mode & 0o170000;
  if (type === 0o100000) return { kind: "file", size, ...times };
  if (type === 0o120000) return { kind: "link", size, ...times };
  return type === 0o040000 ? { kind: "folder", size, ...times } : undefined;
}

/** What the far side says is believed no further than this: no path leads out of the folder. */
export function isInside(path: string): boolean {
  return (
    !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}
