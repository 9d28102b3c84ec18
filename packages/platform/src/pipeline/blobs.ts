/** Archives that outlive the pod that made them: artefacts of a run, and caches by their key. A folder of files, each there as a whole or not at all. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isErrno } from "@kws/base/errors";

const unusedMs = 30 * 24 * 3_600_000;

export interface Blobs {
  /** Also counts as a use of it. */
  has(key: string): Promise<boolean>;
  read(key: string): Readable;
  /** What a stream gives that ends well; nothing is kept of another. `check` is asked when it has ended. */
  write(key: string, from: Readable, check: () => Promise<boolean>): Promise<boolean>;
}

export function blobFolder(folder: string): Blobs {
  const pathOf = (key: string) => join(folder, createHash("sha256").update(key).digest("hex").slice(0, 40));
  return {
    async has(key) {
      const now = new Date();
      try {
        await utimes(pathOf(key), now, now);
        return true;
      } catch (error) {
        if (isErrno(error, "ENOENT")) return false;
        throw error;
      }
    },
    read: (key) => createReadStream(pathOf(key)),
    async write(key, from, check) {
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `.${randomUUID()}`);
      try {
        await pipeline(from, createWriteStream(temporary));
        if (!(await check())) return false;
        await rename(temporary, pathOf(key));
        return true;
      } finally {
        await rm(temporary, { force: true });
      }
    },
  };
}

/** Removes what nobody has read or written for 30 days; `now` is milliseconds since the epoch. */
export async function pruneBlobs(folder: string, now: number): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
  for (const name of names) {
    const path = join(folder, name);
    try {
      if (now - (await stat(path)).mtimeMs > unusedMs) await rm(path, { force: true });
    } catch (error) {
      // Another run was quicker.
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
}
