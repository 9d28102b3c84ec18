/**
 * A snapshot as one file for another machine: a tar archive of its folder, compressed. Reading does not trust it: an entry may only
 * be what a snapshot consists of, inside the folder, reached through directories that the archive itself made, and an image's
 * files have the content that their names say. Extended attributes and sockets are not in it.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, lchown, link, lutimes, mkdir, open, symlink, utimes } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { text } from "node:stream/consumers";
import { createGzip, createZstdCompress } from "node:zlib";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import type { ReadEntry } from "tar";
import { decompressed, readTar } from "../images/tar-stream.ts";
import { entryPath } from "../images/unpack.ts";
import { systemPath } from "../kubelet/runtimes/sandbox/tools.ts";
import { asRootOfFiles, diskFull, runOnFiles } from "./files.ts";
import { dataFolders, readRecord } from "./folder.ts";

/** More than any cluster of one machine holds; a smaller disk is full before. */
const limits = { bytes: 2 ** 40, entries: 10_000_000 };

const isArchive = /\.(tar|tar\.gz|tgz|tar\.zst)$/;

/** Throws `usage` for a name that does not say how the file is compressed. */
export function checkArchiveName(path: string): void {
  if (isArchive.test(path)) return;
  throw new UserError(`the name of an archive ends with .tar.zst, .tar.gz or .tar, unlike ${path}`, {
    code: "usage",
    fix: `Call it ${path}.tar.zst.`,
  });
}

/** Writes the file as a whole, or not at all. */
export async function writeArchive(folder: string, path: string, signal?: AbortSignal): Promise<void> {
  checkArchiveName(path);
  const codec = path.endsWith(".zst") ? [createZstdCompress()] : path.endsWith("gz") ? [createGzip()] : [];
  const [program, ...args] = asRootOfFiles([
    "tar",
    "--create",
    "--format=posix",
    "--numeric-owner",
    "--directory",
    folder,
    // Reading begins with what says whether the rest can be read.
    "snapshot.json",
    "objects.jsonl",
    "images",
    ...dataFolders,
  ]);
  await replaceFile(
    path,
    async (temporary) => {
      const tar = spawn(program, args, {
        env: { PATH: systemPath, LC_ALL: "C" },
        stdio: ["ignore", "pipe", "pipe"],
        ...(signal === undefined ? {} : { signal }),
      });
      const [closed, said] = [once(tar, "close"), text(tar.stderr)];
      try {
        await pipeline(
          [tar.stdout, ...codec, createWriteStream(temporary, { flags: "wx", mode: 0o600 })],
          signal === undefined ? {} : { signal },
        );
        const [code] = (await closed) as [number];
        if (code !== 0) throw new UserError(`tar failed: ${(await said).trim()}`);
      } catch (error) {
        tar.kill();
        await closed.catch(() => undefined); // The failure is told already.
        throw isErrno(error, "ENOSPC", "EDQUOT") ? diskFull(error) : error;
      }
    },
    { mode: 0o600 },
  );
}

/** Fills the empty folder. Throws `config` where the file is no snapshot, or holds what none does. */
export async function readArchive(path: string, folder: string, signal?: AbortSignal): Promise<void> {
  const source = createReadStream(path, {
    highWaterMark: 1 << 20,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    await unpack(source, path, folder);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof UserError) throw error;
    if (isErrno(error, "ENOSPC", "EDQUOT")) throw diskFull(error);
    if (isErrno(error, "ENOENT") && error.path === path)
      throw new UserError(`there is no file ${path}`, { code: "not-found", cause: error });
    const damaged =
      isErrno(error, "Z_DATA_ERROR", "Z_BUF_ERROR") ||
      (error instanceof Error && /tarCode|ZSTD/.test(tell(error)));
    if (damaged) throw refused(path, "it is damaged");
    throw error;
  }
}

function tell(error: Error): string {
  return `${"tarCode" in error ? "tarCode" : ""} ${"code" in error ? String(error.code) : ""}`;
}

type Kind = "directory" | "file" | "other";

async function unpack(
  source: ReturnType<typeof createReadStream>,
  archive: string,
  folder: string,
): Promise<void> {
  const owners = process.getuid?.() === 0;
  const made = new Map<string, Kind>([["", "directory"]]);
  const directories: { path: string; mode: number; mtime: Date }[] = [];
  let [bytes, entries] = [0, 0];

  await readTar(decompressed(source), async (entry) => {
    const path = entryPath(entry.path);
    const no = (why: string) => refused(archive, `the entry "${entry.path}" ${why}`);
    entries += 1;
    bytes += entry.size;
    if (bytes > limits.bytes || entries > limits.entries) throw no("makes it larger than any snapshot");
    if (path === undefined || path === "") throw no("lies outside of the snapshot");
    if (made.has(path)) throw no("is there twice");
    if (made.get(path.slice(0, Math.max(0, path.lastIndexOf("/")))) !== "directory")
      throw no("lies in what is no folder of the archive");
    const place = placeOf(path);
    const kind = kindOf(entry.type);
    if (place === undefined) throw no("belongs to no snapshot");
    if (kind === undefined) throw no(`is of the type ${entry.type}`);
    if (place.kind !== undefined && place.kind !== kind) throw no(`is no ${place.kind}`);
    if (made.size === 1 && path !== "snapshot.json") throw no("comes before snapshot.json");

    const target = join(folder, path);
    const mode = (entry.mode ?? 0o600) & 0o7777;
    const mtime = entry.mtime ?? new Date(0);
    if (kind === "directory") {
      await mkdir(target, { mode: 0o700 });
      directories.push({ path: target, mode, mtime });
    } else if (entry.type === "SymbolicLink") {
      await symlink(entry.linkpath ?? "", target);
    } else if (entry.type === "FIFO") {
      await runOnFiles("mkfifo", [target]);
    } else if (entry.type === "Link") {
      const to = entryPath(entry.linkpath ?? "");
      if (to === undefined || made.get(to) !== "file" || placeOf(to)?.kind !== undefined)
        throw no(`is a hard link to "${entry.linkpath}", which is no file of a volume`);
      await link(join(folder, to), target);
    } else {
      const digest = await writeFile(target, entry);
      if (place.digest !== undefined && place.digest !== digest) throw no("has not the content of its name");
    }
    if (owners && place.data) await lchown(target, entry.uid ?? 0, entry.gid ?? 0);
    if (entry.type === "SymbolicLink") await lutimes(target, mtime, mtime);
    else if (kind !== "directory" && entry.type !== "Link") {
      // After chown, which clears the set-user-ID bit.
      await chmod(target, place.data ? mode : 0o600);
      await utimes(target, mtime, mtime);
    }
    made.set(path, kind);
    if (path === "snapshot.json") await readRecord(folder);
  });
  if (!made.has("snapshot.json") || !made.has("objects.jsonl")) throw refused(archive, "it is no snapshot");
  // Deepest first, since a read-only directory could not be filled and filling changes the time.
  for (const { path, mode, mtime } of directories.toReversed()) {
    await chmod(path, mode);
    await utimes(path, mtime, mtime);
  }
}

function kindOf(type: string): Kind | undefined {
  if (type === "Directory") return "directory";
  if (["File", "OldFile", "ContiguousFile", "Link"].includes(type)) return "file";
  return ["SymbolicLink", "FIFO"].includes(type) ? "other" : undefined;
}

interface Place {
  /** What has to be there; undefined where volumes may have anything. */
  kind?: "directory" | "file";
  /** The digest of an image's file, in hexadecimal digits. */
  digest?: string;
  /** Below a volume, or the volume itself: owners and modes are its own. */
  data: boolean;
}

/** Undefined for what no snapshot holds. */
function placeOf(path: string): Place | undefined {
  const digest = /^images\/blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  if (digest !== undefined) return { kind: "file", digest, data: false };
  if (/^(snapshot\.json|objects\.jsonl|images\/(oci-layout|index\.json))$/.test(path))
    return { kind: "file", data: false };
  if (/^(images(\/blobs(\/sha256)?)?|volumes|pods(\/[^/]+(\/volumes)?)?)$/.test(path))
    return { kind: "directory", data: false };
  if (/^(volumes|pods\/[^/]+\/volumes)\/[^/]+$/.test(path)) return { kind: "directory", data: true };
  return /^(volumes|pods\/[^/]+\/volumes)\/[^/]+\/./.test(path) ? { data: true } : undefined;
}

const zeros = Buffer.alloc(1 << 20);

/** Leaves out what is all zeros, so that a file's holes are holes again. Answers the digest in hexadecimal digits. */
async function writeFile(target: string, entry: ReadEntry): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(target, "wx", 0o600);
  try {
    let at = 0;
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      hash.update(chunk);
      if (chunk.length > zeros.length || !chunk.equals(zeros.subarray(0, chunk.length))) {
        for (let done = 0; done < chunk.length;)
          done += (await file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
      }
      at += chunk.length;
    }
    await file.truncate(at);
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

function refused(archive: string, why: string): UserError {
  return new UserError(`${archive} cannot be restored: ${why}`, {
    code: "config",
    fix: "Use an archive that `kws cluster snapshot -o FILE` wrote, from somebody whom you trust.",
  });
}
