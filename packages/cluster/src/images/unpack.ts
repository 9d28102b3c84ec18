/**
 * Unpacks a layer's tar archive into a folder that serves as an overlay lower directory. The archive is not trusted: an
 * entry may only create what lies inside the folder, reached through directories that the archive itself made.
 *
 * Whiteouts become character devices 0/0, which overlayfs reads as "deleted" and which any user may make (Linux 5.8).
 * An opaque directory would need an extended attribute, which Node cannot set; its meaning is written out instead, as
 * one whiteout for each entry of the layers below. Such a folder is right only above those layers.
 */
import { execFile } from "node:child_process";
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  write,
  writeFileSync,
} from "node:fs";
import { chmod, link, lchown, mkdir, readdir, rm } from "node:fs/promises";
import { join, posix } from "node:path";
import { promisify } from "node:util";
import { UserError, isErrno } from "@kws/base/errors";
import type { ReadEntry } from "tar";
import { listDirectory, locate } from "./rootfs.ts";
import { readTar } from "./tar-stream.ts";

export interface UnpackLimits {
  /** Bytes of all files together. */
  bytes: number;
  entries: number;
}

export const defaultLimits: UnpackLimits = { bytes: 32 * 2 ** 30, entries: 2_000_000 };

export interface UnpackOptions {
  /** The archive's name in errors. */
  archive: string;
  /** Unpacked layers below, the lowest first; read where a directory is opaque or not in the archive itself. */
  below: () => Promise<string[]>;
  /** Give files to the owners in the archive; only root can. */
  owners: boolean;
  limits: UnpackLimits;
}

const whiteoutPrefix = ".wh.";
const opaqueMarker = ".wh..wh..opq";

/** Fills the empty folder. Throws a `UserError` with code `config` that names the archive and the entry. */
export async function unpackLayer(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  options: UnpackOptions,
): Promise<{ opaque: boolean }> {
  /** What the archive has made so far, by path; "" is the folder. */
  const made = new Map<string, "directory" | "file" | "symlink">([["", "directory"]]);
  const directories = new Map<string, { mode: number; mtime: Date }>();
  const whiteouts = new Set<string>();
  const opaque = new Set<string>();
  let bytes = 0;
  let entries = 0;

  const makeParents = async (path: string, entry: ReadEntry) => {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      const parent = path.slice(0, at);
      const kind = made.get(parent);
      if (kind === "directory") continue;
      if (kind !== undefined) {
        throw refused(options.archive, entry.path, `lies behind "${parent}", which is a ${kind}`);
      }
      await mkdir(join(folder, parent));
      made.set(parent, "directory");
      // An overlay shows the attributes of the highest layer, so those of a layer below are repeated.
      const under = await locate(await options.below(), parent, false);
      const stats = under?.stats.isDirectory() === true ? under.stats : undefined;
      if (stats !== undefined && options.owners) {
        await lchown(join(folder, parent), stats.uid, stats.gid);
      }
      directories.set(parent, { mode: (stats?.mode ?? 0o755) & 0o7777, mtime: new Date(0) });
    }
  };

  const make = async (path: string, entry: ReadEntry) => {
    const target = join(folder, path);
    const existing = made.get(path);
    if (existing !== undefined && !(existing === "directory" && entry.type === "Directory")) {
      if (existing === "directory") {
        throw refused(options.archive, entry.path, "replaces a directory of the same archive");
      }
      await rm(target);
      made.delete(path);
    }
    const mtime = entry.mtime ?? new Date(0);
    const mode = (entry.mode ?? 0o644) & 0o7777;
    switch (entry.type) {
      case "Directory":
        if (existing === undefined) mkdirSync(target);
        made.set(path, "directory");
        directories.set(path, { mode, mtime });
        own(target, entry);
        return;
      case "File":
      case "OldFile":
      case "ContiguousFile": {
        const owner = options.owners ? { uid: entry.uid ?? 0, gid: entry.gid ?? 0 } : undefined;
        await writeFile(target, entry, { mode, mtime, owner });
        made.set(path, "file");
        return;
      }
      case "SymbolicLink": {
        const to = entry.linkpath ?? "";
        if (to === "" || to.includes("\0") || climbs(posix.join(posix.dirname(path), to))) {
          throw refused(options.archive, entry.path, `is a symbolic link out of the image: "${to}"`);
        }
        symlinkSync(to, target);
        own(target, entry);
        lutimesSync(target, mtime, mtime);
        made.set(path, "symlink");
        return;
      }
      case "Link": {
        const to = entryPath(entry.linkpath ?? "");
        if (to === undefined || made.get(to) !== "file") {
          throw refused(
            options.archive,
            entry.path,
            `is a hard link to "${entry.linkpath}", which is not a file of the archive`,
          );
        }
        await link(join(folder, to), target);
        made.set(path, "file");
        return;
      }
      default:
        throw refused(options.archive, entry.path, `is of the type ${entry.type}`);
    }
  };

  const own = (target: string, entry: ReadEntry) => {
    if (options.owners) lchownSync(target, entry.uid ?? 0, entry.gid ?? 0);
  };

  await readTar(source, async (entry) => {
    entries += 1;
    bytes += entry.size;
    if (entries > options.limits.entries || bytes > options.limits.bytes) {
      const { limits } = options;
      const limit = entries > limits.entries ? `${limits.entries} entries` : `${limits.bytes} bytes`;
      throw refused(options.archive, entry.path, `makes the layer larger than ${limit}`);
    }
    const path = entryPath(entry.path);
    if (path === undefined) throw refused(options.archive, entry.path, "lies outside the image");
    // The root's own mode and owner are the runtime's to choose.
    if (path === "") return;
    await makeParents(path, entry);
    const name = posix.basename(path);
    const parent = path.slice(0, Math.max(0, path.length - name.length - 1));
    if (name === opaqueMarker) {
      opaque.add(parent);
    } else if (name.startsWith(whiteoutPrefix)) {
      const hidden = name.slice(whiteoutPrefix.length);
      // Docker's own bookkeeping (".wh..wh.plnk" and such) hides nothing.
      if (hidden.startsWith(whiteoutPrefix)) return;
      if (hidden === "" || hidden === "." || hidden === "..") {
        throw refused(options.archive, entry.path, "hides nothing that could exist");
      }
      whiteouts.add(posix.join(parent, hidden));
    } else {
      await make(path, entry);
    }
  }).catch((error: unknown) => {
    if (error instanceof Error && "tarCode" in error) {
      throw new UserError(`${options.archive} is not a sound tar archive: ${error.message}`, {
        code: "config",
        fix: "export the image again",
        cause: error,
      });
    }
    throw error;
  });

  for (const directory of opaque) {
    for (const name of await listDirectory(await options.below(), directory)) {
      whiteouts.add(posix.join(directory, name));
    }
  }
  await makeWhiteouts([...whiteouts].filter((path) => !made.has(path)).map((path) => join(folder, path)));
  // Last and deepest first, since a read-only directory could not be filled and filling changes the time.
  for (const [path, { mode, mtime }] of [...directories].toReversed()) {
    chmodSync(join(folder, path), mode);
    utimesSync(join(folder, path), mtime, mtime);
  }
  return { opaque: opaque.size > 0 };
}

/** Makes character devices 0/0, which Node cannot. */
async function makeWhiteouts(paths: string[]): Promise<void> {
  const script = 'for path; do mknod -- "$path" c 0 0 || exit 1; done';
  for (let at = 0; at < paths.length; at += 500) {
    await promisify(execFile)("/bin/sh", ["-c", script, "sh", ...paths.slice(at, at + 500)]);
  }
}

interface FileAttributes {
  mode: number;
  mtime: Date;
  owner: { uid: number; gid: number } | undefined;
}

/** Files up to this size are written synchronously: a layer has thousands, and a thread's turn for each call costs more. */
const smallFile = 1 << 20;

async function writeFile(target: string, entry: ReadEntry, attributes: FileAttributes): Promise<void> {
  const small = entry.size <= smallFile ? await entry.concat() : undefined;
  // "wx" does not follow a symbolic link, whatever might lie there.
  const file = openSync(target, "wx", 0o600);
  try {
    if (small !== undefined) writeFileSync(file, small);
    else for await (const chunk of entry) await writeChunk(file, chunk);
    const { mode, mtime, owner } = attributes;
    if (owner !== undefined) fchownSync(file, owner.uid, owner.gid);
    // After chown, which clears the set-user-ID bit.
    fchmodSync(file, mode);
    futimesSync(file, mtime, mtime);
  } finally {
    closeSync(file);
  }
}

const writeSome = promisify(write);

async function writeChunk(file: number, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await writeSome(file, chunk, at)).bytesWritten;
}

/** The path inside the layer without leading and trailing slashes; undefined where it is absolute or leaves the layer. */
export function entryPath(written: string): string | undefined {
  if (written.startsWith("/") || written.includes("\0")) return undefined;
  if (written.split("/").includes("..")) return undefined;
  const path = posix.normalize(written).replace(/\/+$/, "");
  return path === "." ? "" : path;
}

/** True for a normalized relative path that leaves its root. */
function climbs(path: string): boolean {
  return path === ".." || path.startsWith("../");
}

export function refused(archive: string, entry: string, why: string): UserError {
  return new UserError(`${archive}: the entry "${entry}" ${why}`, {
    code: "config",
    fix: "use an archive from a source that you trust, made by docker save or an OCI tool",
  });
}

/** Removes a folder, also one with directories that its owner may not write. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!isErrno(error, "EACCES", "EPERM", "ENOTEMPTY")) throw error;
    const unlock = async (folder: string): Promise<void> => {
      try {
        await chmod(folder, 0o700);
        for (const entry of await readdir(folder, { withFileTypes: true })) {
          if (entry.isDirectory()) await unlock(join(folder, entry.name));
        }
      } catch (error) {
        // The removal that failed at one place goes on at others for a moment.
        if (!isErrno(error, "ENOENT")) throw error;
      }
    };
    await unlock(path);
    await rm(path, { recursive: true, force: true });
  }
}
