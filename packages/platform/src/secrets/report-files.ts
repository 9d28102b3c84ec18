/** The files that a report looks at, and when git first saw the keys in them. */
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
  const names = (await repository.read(listing)).split("\0").filter((name) => name !== "");
  return { repository, files: names.map((name) => resolve(repository.root, name)) };
}

/** Without symbolic links, as git has it. */
async function existing(folder: string): Promise<string> {
  try {
    return await realpath(folder);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    throw new UserError(`${folder} does not exist`, { code: "not-found", at: folder, cause: error });
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

/**
 * When each wrapped age key was first committed, by the text that `markOf` gives; one run of git for all files. A rename counts
 * as the first time. Empty where git's answer is too long to be read.
 */
export async function firstCommitted(
  repository: Repository,
  files: readonly string[],
): Promise<Map<string, string>> {
  const dates = new Map<string, string>();
  if (files.length === 0) return dates;
  const log = [
    "log",
    "--reverse",
    "--patch",
    "--unified=0",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
  ];
  const paths = files.map((file) => repository.pathOf(file));
  const result = await repository.git([...log, "--format=%x00%cI", "--", ...paths]);
  if (result.exitCode !== 0) return dates;
  let date = "";
  for (const line of result.stdout.split("\n")) {
    if (line.startsWith("\0")) date = new Date(line.slice(1)).toISOString();
    else if (line.startsWith("+")) {
      for (const word of line.slice(1).split(/\\n|[\s"']/))
        if (word.length === markLength && !dates.has(word)) dates.set(word, date);
    }
  }
  return dates;
}

const markLength = 64;

/**
 * The second line of an age key's armor, which no other one has: the first holds the recipient's type alone where that is long.
 * Every format writes it in one piece.
 */
export function markOf(enc: string): string | undefined {
  const line = enc.split("\n")[2];
  return line?.length === markLength ? line : undefined;
}
