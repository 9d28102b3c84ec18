/** COPY and ADD: which files they mean and where in the image these go (https://docs.docker.com/reference/dockerfile/#copy). */
import { createReadStream } from "node:fs";
import { mkdir, open, readlink } from "node:fs/promises";
import { posix } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import { listContext } from "../context.ts";
import type { ContextFile, FileDigests } from "../context.ts";
import { globExpression, parseIgnore } from "../ignore.ts";
import type { LayerEntry } from "../layer.ts";
import { locate, ownerOf, parentEntries, resolveInside, listDirectory, walk } from "../rootfs.ts";
import type { Located } from "../rootfs.ts";
import type { LocalImageStore } from "../store.ts";
import { decompressed } from "../tar-stream.ts";
import { defaultLimits, unpackLayer } from "../unpack.ts";
import { resolveUser } from "../users.ts";
import { syntaxError } from "./parse.ts";

/** A file or folder that a COPY names, with everything under it. */
export interface Source {
  /** Its own name, for a destination that is a directory. */
  name: string;
  directory: boolean;
  /** Paths relative to a folder's root; one with the empty path for a file. */
  files: SourceFile[];
}

export interface SourceFile {
  path: string;
  type: "file" | "directory" | "symlink";
  mode: number;
  target?: string;
  /** On disk, or the content of a here-document. */
  content: string | Uint8Array;
  owner?: { uid: number; gid: number };
  /** What to hash for the cache. */
  stamp?: ContextFile;
}

const hasGlob = (pattern: string) => /[*?[]/.test(pattern);

function cleanPattern(written: string, at: string): string {
  if (written.split("/").includes("..")) {
    throw syntaxError(at, `"${written}" lies outside the build context`, "copy only from inside it");
  }
  const clean = posix.normalize(written.replace(/^\/+/, "") || ".").replace(/\/+$/, "");
  return clean === "." ? "" : clean;
}

/** Files of the build context. */
export function contextSources(files: ContextFile[], pattern: string, at: string): Source[] {
  const path = cleanPattern(pattern, at);
  if (path === "") return [{ name: "", directory: true, files: files.map((file) => fileOf(file, "")) }];
  const expression = hasGlob(path) ? globExpression(path) : undefined;
  const matches = files.filter((file) =>
    expression === undefined ? file.path === path : expression.test(file.path),
  );
  // A pattern that matches a folder also matches what is in it only where "**" says so; the folder covers that.
  const found = matches.filter(
    (file) => !matches.some((other) => other.type === "directory" && file.path.startsWith(`${other.path}/`)),
  );
  if (found.length === 0) {
    const link = files.find((file) => file.type === "symlink" && path.startsWith(`${file.path}/`));
    throw link === undefined
      ? syntaxError(
          at,
          `"${pattern}" matches nothing in the build context`,
          "check the path and .dockerignore, which may leave it out",
        )
      : syntaxError(
          at,
          `"${pattern}" leads through the symbolic link "${link.path}"`,
          "copy what it points at",
        );
  }
  return found.map((file) => sourceOf(files, file, pattern, at));
}

function sourceOf(files: ContextFile[], file: ContextFile, pattern: string, at: string): Source {
  const name = posix.basename(file.path);
  let real = file;
  for (let links = 0; real.type === "symlink"; links += 1) {
    const target = posix.join(posix.dirname(real.path), real.target ?? "");
    const next = files.find((other) => other.path === target.replace(/\/+$/, ""));
    if (next === undefined || real.target?.startsWith("/") === true || links > 20) {
      throw syntaxError(
        at,
        `"${pattern}" is a symbolic link out of the build context: ${real.path} -> ${real.target}`,
        "copy a file or folder inside the context",
      );
    }
    real = next;
  }
  if (real.type === "file") return { name, directory: false, files: [fileOf(real, real.path)] };
  const prefix = `${real.path}/`;
  const inside = files.filter((other) => other.path.startsWith(prefix));
  return { name, directory: true, files: inside.map((other) => fileOf(other, real.path)) };
}

function fileOf(file: ContextFile, root: string): SourceFile {
  return {
    path: posix.relative(root, file.path),
    type: file.type,
    mode: file.mode,
    content: file.source,
    stamp: file,
    ...(file.target === undefined ? {} : { target: file.target }),
  };
}

/** Files of an image or an earlier stage. */
export async function layerSources(layers: string[], pattern: string, at: string): Promise<Source[]> {
  const clean = cleanPattern(pattern, at);
  const sources: Source[] = [];
  for (const path of await expandGlob(layers, clean)) {
    const real = await locate(layers, path);
    if (real === undefined) continue;
    const below = await walk(layers, real.path);
    const files = await Promise.all(
      below
        .filter(({ stats }) => stats.isFile() || stats.isDirectory() || stats.isSymbolicLink())
        .filter((entry) => !real.stats.isDirectory() || entry.path !== real.path)
        .map((entry) => layerFile(entry, real.path)),
    );
    sources.push({ name: posix.basename(path), directory: real.stats.isDirectory(), files });
  }
  if (sources.length === 0) throw syntaxError(at, `"${pattern}" matches nothing in the image`);
  return sources;
}

async function layerFile({ path, file, stats }: Located, root: string): Promise<SourceFile> {
  const type = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "file";
  return {
    path: posix.relative(root, path),
    type,
    mode: stats.mode & 0o7777,
    content: file,
    owner: ownerOf(stats),
    ...(type === "symlink" ? { target: await readlink(file) } : {}),
  };
}

async function expandGlob(layers: string[], pattern: string): Promise<string[]> {
  let paths = [""];
  for (const part of pattern.split("/").filter(Boolean)) {
    if (!hasGlob(part)) {
      paths = paths.map((path) => posix.join(path, part));
      continue;
    }
    const expression = globExpression(part);
    const next: string[] = [];
    for (const path of paths) {
      const { path: real } = await resolveInside(layers, path);
      const names = await listDirectory(layers, real);
      next.push(...names.filter((name) => expression.test(name)).map((name) => posix.join(real, name)));
    }
    paths = next;
  }
  return paths;
}

export interface Placement {
  /** As written, variables replaced. */
  destination: string;
  workingDir: string;
  /** Unpacked layers of the stage so far. */
  layers: string[];
  chown: string | undefined;
  chmod: number | undefined;
  at: string;
}

/** True for a destination that is a directory however the image looks. */
export function namesDirectory(destination: string): boolean {
  return /(?:^|\/)\.?$/.test(destination);
}

/** The entries of the layer that holds the sources at their destination. */
export async function placeSources(sources: Source[], placement: Placement): Promise<LayerEntry[]> {
  const { destination, layers } = placement;
  const asDirectory = namesDirectory(destination);
  const absolute = posix.resolve("/", placement.workingDir || "/", destination);
  const resolved = await resolveInside(layers, absolute);
  const exists = resolved.located?.stats.isDirectory() === true || resolved.path === "";
  const owner = await ownerFor(placement);
  const entries: LayerEntry[] = [];
  const fresh = owner ?? { uid: 0, gid: 0 };
  for (const source of sources) {
    const intoDirectory = source.directory || asDirectory || exists;
    const root = source.directory || !intoDirectory ? resolved.path : posix.join(resolved.path, source.name);
    const parent = source.directory ? root : posix.dirname(root) === "." ? "" : posix.dirname(root);
    entries.push(...(await parentEntries(layers, parent, fresh)));
    for (const file of source.files) {
      const path = posix.join(root, file.path).replace(/\/$/, "");
      const mode = placement.chmod ?? file.mode;
      const ids = owner ?? file.owner ?? { uid: 0, gid: 0 };
      if (file.type === "symlink") {
        entries.push({ path, type: "symlink", target: file.target ?? "", ...ids });
      } else if (file.type === "directory") {
        const below = await locate(layers, path);
        // A directory may be a link in the image; what is copied goes where it points.
        if (below !== undefined && below.path !== path && below.stats.isDirectory()) continue;
        entries.push({ path, type: "directory", mode, ...ids });
      } else {
        entries.push({ path, type: "file", mode, source: file.content, ...ids });
      }
    }
  }
  return entries;
}

/** A single id stands for the group too, as the Dockerfile reference says. */
async function ownerFor({ chown, layers, at }: Placement) {
  if (chown === undefined || chown === "") return undefined;
  try {
    const { uid, gid } = await resolveUser(layers, chown);
    return { uid, gid: chown.includes(":") ? gid : uid };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw syntaxError(at, `--chown: ${error.message}`, error.fix);
  }
}

/** A digest over what the sources hold; equal for equal content, whatever the times. */
export async function digestSources(sources: Source[], digests: FileDigests): Promise<string> {
  const parts: unknown[] = [];
  for (const source of sources) {
    parts.push([source.name, source.directory]);
    for (const file of source.files) {
      const content =
        file.type !== "file"
          ? (file.target ?? "")
          : file.stamp !== undefined
            ? await digests.digest(file.stamp)
            : typeof file.content === "string"
              ? file.content
              : sha256(file.content);
      parts.push([file.path, file.type, file.mode, file.owner, content]);
    }
  }
  return sha256(JSON.stringify(parts));
}

/**
 * ADD's archives: a local tar, compressed or not, becomes its content; anything else stays as it is. The folders that
 * hold the content are added to the list, for the caller to remove. An archive that cannot be unpacked is an error at `at`.
 */
export async function extractArchives(
  store: LocalImageStore,
  sources: Source[],
  folders: string[],
  at: string,
): Promise<Source[]> {
  const result: Source[] = [];
  for (const source of sources) {
    const file = source.directory ? undefined : source.files[0];
    if (typeof file?.content !== "string" || !(await isTar(file.content))) {
      result.push(source);
      continue;
    }
    const folder = await store.blobs.temporary();
    folders.push(folder);
    await mkdir(folder);
    await unpack(file.content, folder, source.name, at);
    const files = await listContext(folder, parseIgnore(""));
    result.push({
      name: source.name,
      directory: true,
      files: files.map((entry) => {
        const { stamp: _, ...plain } = fileOf(entry, "");
        return plain;
      }),
    });
  }
  return result;
}

async function unpack(path: string, folder: string, name: string, at: string): Promise<void> {
  try {
    await unpackLayer(decompressed(createReadStream(path)), folder, {
      archive: name,
      below: () => Promise.resolve([]),
      owners: false,
      limits: defaultLimits,
    });
  } catch (error) {
    const damaged = isCompressionError(error);
    if (!(error instanceof UserError) && !damaged) throw error;
    const message = damaged ? `${name} is not a sound archive: ${messageOf(error)}` : messageOf(error);
    throw syntaxError(at, message, "make the archive anew, or COPY it as the file that it is");
  }
}

async function isTar(path: string): Promise<boolean> {
  const head = Buffer.alloc(512);
  const file = await open(path);
  try {
    await file.read(head, 0, 512, 0);
  } finally {
    await file.close();
  }
  const compressed = head[0] === 0x1f && head[1] === 0x8b;
  if (!compressed) return head.toString("latin1", 257, 262) === "ustar";
  const source = createReadStream(path);
  try {
    let start = Buffer.alloc(0);
    for await (const chunk of decompressed(source)) {
      start = Buffer.concat([start, chunk]);
      if (start.length >= 512) break;
    }
    return start.toString("latin1", 257, 262) === "ustar";
  } catch (error) {
    // Not gzip after all, or cut short: then it is a file like any other.
    if (isCompressionError(error)) return false;
    throw error;
  } finally {
    source.destroy();
  }
}

const isCompressionError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && /^(?:Z|ZSTD)_/.test(String(error.code));
