/**
 * Writes layers: tar archives whose bytes depend on nothing but their entries. Paths are sorted, times fixed, names of
 * owners absent; so equal content has an equal digest, whoever builds it and when.
 */
import type { Hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Header, Pax } from "tar";

/** A path in a layer, without a leading or trailing slash. */
export interface LayerEntry {
  path: string;
  type: "file" | "directory" | "symlink" | "link" | "whiteout" | "opaque";
  /** Permission bits; 0755 for directories and 0644 for files unless given. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** A symbolic link's target as it stands, or the path in the layer of the file that a hard link shares. */
  target?: string;
  /** A file's content: a path on disk, or the bytes. */
  source?: string | Uint8Array;
  /** Seconds since 1970; 0 unless given. */
  mtime?: number;
}

const block = 512;
const bufferSize = 1 << 20;

/**
 * Writes the entries as a tar archive to the path, feeding the hash. Missing parent directories are added; hard links
 * come after what they share.
 */
export async function writeLayer(path: string, entries: LayerEntry[], hash: Hash): Promise<{ size: number }> {
  const file = await open(path, "wx", 0o644);
  try {
    let size = 0;
    const pending = Buffer.allocUnsafe(bufferSize);
    let filled = 0;
    const write = async (bytes: Uint8Array) => {
      hash.update(bytes);
      await writeAll(file, bytes);
      size += bytes.length;
    };
    const flush = async () => {
      await write(pending.subarray(0, filled));
      filled = 0;
    };
    const put = async (bytes: Uint8Array) => {
      if (filled + bytes.length > bufferSize) await flush();
      if (bytes.length > bufferSize) return write(bytes);
      pending.set(bytes, filled);
      filled += bytes.length;
    };
    for (const entry of sorted(entries)) {
      await writeEntry(entry, put);
    }
    await put(Buffer.alloc(2 * block));
    await flush();
    return { size };
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
}

async function writeEntry(entry: LayerEntry, put: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const small =
    entry.type !== "file"
      ? Buffer.alloc(0)
      : typeof entry.source === "string"
        ? smallContent(entry.source)
        : Buffer.from(entry.source ?? "");
  const size = typeof small === "number" ? small : small.length;
  for (const bytes of headers(entry, size)) await put(bytes);
  if (typeof small !== "number") {
    await put(small);
  } else if (typeof entry.source === "string") {
    await copyContent(entry.source, size, put);
  }
  if (size % block !== 0) await put(Buffer.alloc(block - (size % block)));
}

/** A file's content, or its size where it is too large to hold. Synchronous: a thread's turn for each call costs more. */
function smallContent(path: string): Buffer | number {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    return size > 4 * bufferSize ? size : readFileSync(file);
  } finally {
    closeSync(file);
  }
}

async function copyContent(
  path: string,
  size: number,
  put: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(bufferSize);
    let seen = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, bufferSize);
      if (bytesRead === 0) break;
      seen += bytesRead;
      if (seen > size) break;
      await put(buffer.subarray(0, bytesRead));
    }
    if (seen !== size) throw new Error(`${path} changed while it was read`);
  } finally {
    await file.close();
  }
}

function headers(entry: LayerEntry, size: number): Uint8Array[] {
  const { type, path, mode, uid = 0, gid = 0, mtime = 0 } = tarEntry(entry);
  const fields = {
    path: type === "Directory" ? `${path}/` : path,
    type,
    mode,
    uid,
    gid,
    size,
    mtime: new Date(mtime * 1000),
    ...(entry.target === undefined ? {} : { linkpath: entry.target }),
  };
  const header = new Header(fields);
  const bytes = Buffer.alloc(block);
  if (!header.encode(bytes)) return [bytes];
  // Only what does not fit goes into the extended header, so that its bytes depend on nothing else.
  const pax = new Pax({
    path: fields.path,
    ...(entry.target === undefined ? {} : { linkpath: entry.target }),
    ...(size > 0o77777777777 ? { size } : {}),
  });
  return [pax.encode(), bytes];
}

interface TarFields {
  path: string;
  type: "Directory" | "File" | "SymbolicLink" | "Link";
  mode: number;
  uid?: number;
  gid?: number;
  mtime?: number;
}

function tarEntry(entry: LayerEntry): TarFields {
  const { path, uid, gid, mtime } = entry;
  const common = { uid, gid, mtime };
  const cut = path.lastIndexOf("/") + 1;
  switch (entry.type) {
    case "directory":
      return { ...common, path, type: "Directory", mode: entry.mode ?? 0o755 };
    case "symlink":
      return { ...common, path, type: "SymbolicLink", mode: 0o777 };
    case "link":
      return { ...common, path, type: "Link", mode: entry.mode ?? 0o644 };
    case "whiteout":
      return {
        path: `${path.slice(0, cut)}.wh.${path.slice(cut)}`,
        type: "File",
        mode: 0o644,
      };
    case "opaque":
      return { path: `${path}/.wh..wh..opq`, type: "File", mode: 0o644 };
    case "file":
      return { ...common, path, type: "File", mode: entry.mode ?? 0o644 };
  }
}

/** By path component, so that a directory comes before what is in it; the last of two entries for a path wins. */
function sorted(entries: LayerEntry[]): LayerEntry[] {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    const key = entry.type === "opaque" ? `${entry.path}/.wh..wh..opq` : entry.path;
    for (let at = key.indexOf("/"); at !== -1; at = key.indexOf("/", at + 1)) {
      const parent = key.slice(0, at);
      if (!byPath.has(parent)) byPath.set(parent, { path: parent, type: "directory" });
    }
    byPath.set(key, entry);
  }
  const keyed = [...byPath].map(([key, entry]) => ({
    // NUL sorts before every character of a name, so "a/b" comes before "a-b" and right after "a".
    key: key.replaceAll("/", "\0"),
    late: entry.type === "link" ? 1 : 0,
    entry,
  }));
  keyed.sort((a, b) => a.late - b.late || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return keyed.map(({ entry }) => entry);
}
