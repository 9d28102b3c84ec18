/** The sources that steps get: what git would keep of the service's folder, as one archive that is made once for a run. */
import { createReadStream, existsSync } from "node:fs";
import { glob, lstat, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { createHash } from "node:crypto";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import { type GitSettings, listKept } from "../packages/revision.ts";
import type { ProjectService } from "../project/workspace.ts";

export interface Sources {
  open(): Promise<Readable>;
  /** A fingerprint of the files that are named, and of the words that name none. */
  fingerprint(names: string[]): Promise<string>;
}

/** `file` is where the archive is kept; one that is there already is of an earlier part of the same run. */
export function sourcesOf(service: ProjectService, file: string, settings: GitSettings): Sources {
  let made: Promise<void> | undefined;
  const make = async () => {
    if (existsSync(file)) return;
    await mkdir(dirname(file), { recursive: true });
    const { create } = await import("tar");
    const paths = await listed(service, settings);
    await replaceFile(file, (temporary) =>
      create({ cwd: service.dir, file: temporary, portable: true, noDirRecurse: true }, paths),
    );
  };
  return {
    async open() {
      await (made ??= make());
      return createReadStream(file);
    },
    async fingerprint(names) {
      const hash = createHash("sha256");
      for (const name of names) hash.update(JSON.stringify([name, await digest(join(service.dir, name))]));
      return hash.digest("hex");
    },
  };
}

async function digest(path: string): Promise<string | undefined> {
  try {
    return createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  } catch (error) {
    if (isErrno(error, "ENOENT", "EISDIR", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** Without a repository all files but those that tools make. */
async function listed(service: ProjectService, settings: GitSettings): Promise<string[]> {
  const kept = isRepository(service.dir)
    ? await listKept(service.dir, settings)
    : await Array.fromAsync(
        glob("**", { cwd: service.dir, exclude: (path) => /(^|\/)(node_modules|\.git)$/.test(path) }),
      );
  const there = await Promise.all(
    kept.map(async (path) => {
      const found = await lstat(join(service.dir, path)).catch(() => undefined);
      return found?.isFile() === true || found?.isSymbolicLink() === true;
    }),
  );
  // The dot keeps names that begin with @ from being taken for lists of files.
  return kept.filter((_path, index) => there[index]).map((path) => `./${path}`);
}

function isRepository(dir: string): boolean {
  return existsSync(join(dir, ".git")) || (dirname(dir) !== dir && isRepository(dirname(dir)));
}
