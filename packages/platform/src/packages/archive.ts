/**
 * Chart archives as bytes: read without trusting them, and written so that equal files give equal bytes. The compression is
 * a JavaScript one, because zlib's output differs between processors and versions.
 */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { messageOf, UserError } from "@kws/base/errors";

/** Contents by path; every path begins with the chart's name. */
export type ArchiveFiles = Map<string, Uint8Array>;

export const limits = {
  /** Helm refuses bigger files and archives itself (`MaxDecompressedFileSize`, `MaxDecompressedChartSize`). */
  file: 5 * 1024 * 1024,
  total: 20 * 1024 * 1024,
  files: 2000,
};
const block = 512;

/** Throws `config` for what is no archive, and for one with links, special files, paths that lead out, or too much in it. */
export async function readArchive(bytes: Uint8Array, name: string): Promise<ArchiveFiles> {
  const { Parser } = await import("tar");
  const files: ArchiveFiles = new Map();
  const tar = await unzip(bytes, name);
  const reading: Promise<void>[] = [];
  let fault: UserError | undefined;
  const done = Promise.withResolvers<void>();
  const parser = new Parser({
    strict: true,
    gzip: false,
    brotli: false,
    onReadEntry(entry) {
      fault ??= entryFault(entry.path, entry.type, entry.size, files, name);
      if (fault !== undefined || entry.type === "Directory") {
        entry.resume();
        return;
      }
      // Taken at once, so that a second entry of the same path is seen.
      files.set(entry.path, new Uint8Array());
      reading.push(entry.concat().then((content) => void files.set(entry.path, content)));
    },
  });
  parser.on("error", (error: unknown) => done.reject(fault ?? broken(name, error)));
  parser.on("end", () => done.resolve());
  parser.end(Buffer.from(tar));
  await done.promise;
  await Promise.all(reading);
  if (fault !== undefined) throw fault;
  return files;
}

async function unzip(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  // A block and its padding for each file, besides the content.
  const maxOutputLength = limits.total + limits.files * 4 * block;
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength });
  } catch (error) {
    if (error instanceof RangeError) throw refused(name, name, "unpacks to more than a chart may hold");
    throw broken(name, error);
  }
}

function entryFault(
  path: string,
  type: string,
  size: number,
  files: ArchiveFiles,
  archive: string,
): UserError | undefined {
  const parts = path.replace(/\/$/, "").split("/");
  if (path.startsWith("/") || path.includes("\\") || parts.some((part) => ["", ".", ".."].includes(part)))
    return refused(archive, path, "leads out of the chart");
  if (type === "Directory") return undefined;
  if (!["File", "OldFile", "ContiguousFile"].includes(type))
    return refused(archive, path, `is a ${type}, and a chart holds files alone`);
  if (files.has(path)) return refused(archive, path, "stands in the archive twice");
  if (size > limits.file || files.size >= limits.files)
    return refused(archive, path, "makes the chart too big");
  return undefined;
}

function refused(archive: string, path: string, why: string): UserError {
  return new UserError(`${archive} is refused: ${JSON.stringify(path)} ${why}`, { code: "config" });
}

function broken(name: string, error: unknown): UserError {
  return new UserError(`${name} is not a chart archive: ${messageOf(error)}`, {
    code: "config",
    cause: error,
  });
}

/** The archive of the files, sorted, with one time (seconds since the epoch), owner and mode for all. */
export async function writeArchive(files: ArchiveFiles, time: number): Promise<Uint8Array> {
  const [{ Header, Pax }, { gzipSync }] = await Promise.all([import("tar"), import("fflate")]);
  const parts: Uint8Array[] = [];
  for (const [path, content] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const fields = { path, type: "File" as const, mode: 0o644, uid: 0, gid: 0, size: content.length };
    const header = Buffer.alloc(block);
    const extended = new Header({ ...fields, mtime: new Date(time * 1000) }).encode(header);
    if (extended) parts.push(new Pax({ path }).encode());
    parts.push(header, content, Buffer.alloc((block - (content.length % block)) % block));
  }
  parts.push(Buffer.alloc(2 * block));
  return gzipSync(Buffer.concat(parts), { level: 9, mtime: 0 });
}
