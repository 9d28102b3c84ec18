/**
 * From the far side to here. A container is not trusted with this machine: what it sends is written below the folder alone, never
 * through a link, and links that lead out of the folder are refused.
 */
import {
  closeSync,
  fchmodSync,
  futimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { isErrno, messageOf } from "@kws/base/errors";
import { type ArchiveMember, members } from "./archive.ts";
import { bytesOf, type Entry, parentOf, unchanged } from "./entry.ts";
import { fetchArchive } from "./far.ts";
import { absolute, isRefusal, lookAt } from "./scan.ts";
import type { Session } from "./session.ts";

export interface Wanted {
  /** Where to write it here; another path than there for copies that are kept beside. */
  to: string;
  /** What is there now: anything else is not overwritten. */
  expected: Entry | undefined;
}

export interface Downloaded {
  /** What is here now, by its path there. */
  written: Map<string, Entry>;
  /** Paths there whose place here has changed in the meantime. */
  overtaken: string[];
  failed: Map<string, string>;
  bytes: number;
}

/** Fetches files and links. Those that are gone there by now are in none of the results. */
export async function download(
  session: Session,
  root: string,
  wanted: Map<string, Wanted>,
): Promise<Downloaded> {
  const result: Downloaded = { written: new Map(), overtaken: [], failed: new Map(), bytes: 0 };
  if (wanted.size === 0) return result;
  await fetchArchive(session, [...wanted.keys()], async (archive) => {
    for await (const member of members(archive)) {
      const want = wanted.get(member.path);
      if (want === undefined || member.kind === "folder") continue;
      try {
        const entry =
          member.kind === "link" ? makeLink(root, want, member) : await writeFile(root, want, member);
        if (entry === undefined) result.overtaken.push(member.path);
        else {
          result.written.set(member.path, entry);
          result.bytes += member.size;
        }
      } catch (error) {
        if (!isRefusal(error) && !(error instanceof Refused)) throw error;
        result.failed.set(member.path, messageOf(error));
      }
    }
  });
  return result;
}

class Refused extends Error {
  override name = "Refused";
}

async function writeFile(root: string, want: Wanted, member: ArchiveMember): Promise<Entry | undefined> {
  makeParents(root, want.to);
  const temporary = temporaryBeside(want.to);
  const file = openSync(absolute(root, temporary), "wx", member.mode | 0o600);
  try {
    try {
      for await (const chunk of member.content) {
        for (let at = 0; at < chunk.length;) at += writeSync(file, chunk, at);
      }
      if ((member.mode & 0o600) !== 0o600) fchmodSync(file, member.mode);
      futimesSync(file, member.mtime / 1000, member.mtime / 1000);
    } finally {
      closeSync(file);
    }
    return takePlace(root, temporary, want);
  } catch (error) {
    unlinkIfThere(root, temporary);
    throw error;
  }
}

function makeLink(root: string, want: Wanted, member: ArchiveMember): Entry | undefined {
  if (leadsOut(want.to, member.target)) {
    throw new Refused(`it is a link to ${member.target}, which leads out of the folder`);
  }
  makeParents(root, want.to);
  const temporary = temporaryBeside(want.to);
  symlinkSync(bytesOf(member.target), absolute(root, temporary));
  return takePlace(root, temporary, want);
}

/**
 * `..` may only come first: after a name that is itself a link, it would lead elsewhere than it seems. Nothing but folders leads
 * to the link itself.
 */
function leadsOut(path: string, target: string): boolean {
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  const up = parts.findIndex((part) => part !== "..");
  const climbs = up === -1 ? parts.length : up;
  return target.startsWith("/") || climbs >= path.split("/").length || parts.lastIndexOf("..") >= climbs;
}

/** The last look and the renaming follow each other without a turn for anybody else in this process. */
function takePlace(root: string, temporary: string, want: Wanted): Entry | undefined {
  if (!unchanged(want.expected, lookAt(root, want.to)?.entry)) {
    unlinkIfThere(root, temporary);
    return undefined;
  }
  renameSync(absolute(root, temporary), absolute(root, want.to));
  return lookAt(root, want.to)?.entry;
}

function temporaryBeside(path: string): string {
  const name = `.kws-sync-${randomBytes(6).toString("hex")}`;
  const parent = parentOf(path);
  return parent === "" ? name : `${parent}/${name}`;
}

/** Makes the folders that lead to a path; throws where a link or a file is in the way. */
export function makeParents(root: string, path: string): void {
  const parts = path.split("/").slice(0, -1);
  for (let count = 1; count <= parts.length; count++) makeFolder(root, parts.slice(0, count).join("/"));
}

/** Its parents must be folders already. */
export function makeFolder(root: string, path: string): void {
  const there = lookAt(root, path)?.entry;
  if (there?.kind === "folder") return;
  if (there !== undefined) throw new Refused(`a ${there.kind} is in the way`);
  mkdirSync(absolute(root, path));
}

/** Whether only folders lead to the path, so that what is done to it is done inside of the root. */
function isReached(root: string, path: string): boolean {
  for (let at = parentOf(path); at !== ""; at = parentOf(at)) {
    if (lookAt(root, at)?.entry.kind !== "folder") return false;
  }
  return true;
}

/** Removes a file, a link, or an empty folder, unless it is no longer what is expected. True where it is gone. */
export function removeHere(root: string, path: string, expected: Entry): boolean {
  const there = isReached(root, path) ? lookAt(root, path)?.entry : undefined;
  if (there === undefined) return true;
  if (!unchanged(expected, there)) return false;
  try {
    if (there.kind === "folder") rmdirSync(absolute(root, path));
    else unlinkSync(absolute(root, path));
    return true;
  } catch (error) {
    if (isErrno(error, "ENOTEMPTY", "EEXIST")) return false;
    throw error;
  }
}

function unlinkIfThere(root: string, path: string): void {
  try {
    unlinkSync(absolute(root, path));
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** Keeps a version beside: a name that is free. */
export function conflictName(root: string, path: string): string {
  for (let count = 1; ; count++) {
    const name = `${path}.kws-conflict${count === 1 ? "" : `-${count}`}`;
    if (lookAt(root, name) === undefined) return name;
  }
}
