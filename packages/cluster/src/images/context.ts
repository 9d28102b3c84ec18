/**
 * A build context: the files of a folder that its ignore file lets through, with digests of their content. Nothing
 * outside of the folder is ever read.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { UserError, isErrno } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import { parseIgnore } from "./ignore.ts";
import type { IgnoreRules } from "./ignore.ts";
import type { LocalImageStore } from "./store.ts";

export interface ContextFile {
  /** Relative to the context, with slashes. */
  path: string;
  type: "file" | "directory" | "symlink";
  /** On disk. */
  source: string;
  mode: number;
  target?: string;
  size: number;
  /** Identity for the digest cache. */
  stamp: string;
  mtimeMs: number;
}

/** Every file of the folder that is not ignored, sorted by path; sockets and devices are left out. */
export async function listContext(folder: string, rules: IgnoreRules): Promise<ContextFile[]> {
  const files: ContextFile[] = [];
  const walk = async (relative: string): Promise<void> => {
    const names = (await readdir(join(folder, relative))).toSorted();
    for (const name of names) {
      const path = relative === "" ? name : `${relative}/${name}`;
      const ignored = rules.ignored(path);
      if (ignored && !rules.hasExceptions) continue;
      const source = join(folder, path);
      const stats = await lstat(source, { bigint: true });
      const type = stats.isDirectory()
        ? "directory"
        : stats.isSymbolicLink()
          ? "symlink"
          : stats.isFile()
            ? "file"
            : undefined;
      if (type === undefined) continue;
      if (!ignored) {
        files.push({
          path,
          type,
          source,
          mode: Number(stats.mode) & 0o7777,
          size: Number(stats.size),
          stamp: `${stats.size} ${stats.mtimeNs} ${stats.ctimeNs} ${stats.ino}`,
          mtimeMs: Number(stats.mtimeMs),
          ...(type === "symlink" ? { target: await readlink(source) } : {}),
        });
      }
      if (type === "directory") await walk(path);
    }
  };
  try {
    await walk("");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) {
      if (existsSync(folder))
        throw new UserError(`${folder} was changed while it was read for a build: ${error.message}`, {
          code: "conflict",
          fix: "Build again when nothing writes to it.",
          cause: error,
        });
      throw new UserError(`there is no folder ${folder} to build from`, {
        code: "not-found",
        cause: error,
      });
    }
    throw error;
  }
  return files;
}

/** The rules of `<dockerfile>.dockerignore` or, where there is none, of `.dockerignore` in the context. */
export async function readIgnore(context: string, dockerfile?: string): Promise<IgnoreRules> {
  const candidates = [
    ...(dockerfile === undefined ? [] : [`${dockerfile}.dockerignore`]),
    join(context, ".dockerignore"),
  ];
  for (const path of candidates) {
    try {
      return parseIgnore(await readFile(path, "utf8"));
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
  return parseIgnore("");
}

export interface FileDigests {
  digest(file: Pick<ContextFile, "source" | "stamp" | "mtimeMs">): Promise<string>;
  /** Keeps what was computed for the next build. */
  save(): Promise<void>;
}

/**
 * Digests of files' content, remembered by size, times and inode; so an unchanged context is not read again. A file that
 * changed within the last seconds is read each time, since a second change could leave its time as it is.
 */
export async function openDigests(store: LocalImageStore, context: string): Promise<FileDigests> {
  const key = `digests 1 ${context}`;
  const recalled = await store.recall(key);
  const known = new Map(Object.entries((recalled ?? {}) as Record<string, string>));
  const used = new Map<string, string>();
  let changed = false;
  return {
    async digest(file) {
      const id = `${file.source}\0${file.stamp}`;
      const old = known.get(id) ?? used.get(id);
      if (old !== undefined) {
        used.set(id, old);
        return old;
      }
      const digest = await digestOfFile(file.source);
      if (Date.now() - file.mtimeMs > 2_000) {
        used.set(id, digest);
        changed = true;
      }
      return digest;
    },
    async save() {
      if (changed) await store.remember(key, Object.fromEntries(used));
    },
  };
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
    hash.update(chunk as Buffer);
  }
  return `sha256:${hash.digest("hex")}`;
}

/**
 * One digest over a context, its Dockerfile and whatever else decides what is built; a caller skips a build while it
 * stays the same.
 */
export async function fingerprint(
  store: LocalImageStore,
  options: { context: string; dockerfile?: string; inputs?: unknown },
): Promise<string> {
  const rules = await readIgnore(options.context, options.dockerfile);
  const files = await listContext(options.context, rules);
  const digests = await openDigests(store, `fingerprint ${options.context}`);
  const hash = createHash("sha256");
  if (options.dockerfile !== undefined) hash.update(sha256(await readFile(options.dockerfile)));
  hash.update(JSON.stringify(options.inputs ?? null));
  for (const file of files) {
    const content = file.type === "file" ? await digests.digest(file) : (file.target ?? "");
    hash.update(JSON.stringify([file.path, file.type, file.mode, content]));
  }
  await digests.save();
  return `sha256:${hash.digest("hex")}`;
}
