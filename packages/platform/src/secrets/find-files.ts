/** The files of a folder that are looked at: for secrets in them, and for what should be encrypted. */
import { readdir, realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { openRepository, type Repository } from "../project/repository.ts";

export interface FoundFiles {
  /** Undefined for a folder without git. */
  repository: Repository | undefined;
  /** Absolute. */
  files: string[];
}

/** What git has or would add in a folder; without git all of it but `node_modules`. */
export async function findFiles(
  given: string,
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<FoundFiles> {
  const folder = await existing(given);
  const repository = await repositoryOf(folder, options);
  if (repository === undefined) return { repository, files: await walk(folder) };
  const path = repository.pathOf(folder) || ".";
  const listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path];
  // While a merge has conflicts a file is listed once for each side.
  const names = new Set((await repository.read(listing)).split("\0").filter((name) => name !== ""));
  return { repository, files: Array.from(names, (name) => resolve(repository.root, name)) };
}

/** Without symbolic links, as git has it. */
export async function existing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    throw new UserError(`${path} does not exist`, { code: "not-found", at: path, cause: error });
  }
}

async function repositoryOf(
  folder: string,
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<Repository | undefined> {
  try {
    return await openRepository(folder, options);
  } catch (error) {
    if (error instanceof UserError && error.code === "config") return undefined;
    throw error;
  }
}

async function walk(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const nested = await Promise.all(
    entries.map(async (entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return entry.name === "node_modules" ? [] : walk(path);
      return entry.isFile() ? [path] : [];
    }),
  );
  return nested.flat();
}
