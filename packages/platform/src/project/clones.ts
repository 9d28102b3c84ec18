/** Clones that people have beside a workspace: which repositories they are of, read from their configuration without running git. */
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { isErrno } from "@kws/base/errors";
import { publicAddress } from "./git.ts";

export interface Clone {
  dir: string;
  /** Of its remotes, as `repositoryKey` has them. */
  repositories: string[];
}

/** The folders beside the workspace's own that are clones, by name. */
export async function siblingClones(root: string): Promise<Clone[]> {
  const parent = dirname(root);
  const entries = await readdir(parent, { withFileTypes: true });
  const clones = await Promise.all(
    entries
      .filter((entry) => !entry.name.startsWith("."))
      .map((entry) => join(parent, entry.name))
      .filter((dir) => dir !== root)
      .map(async (dir) => ({ dir, repositories: await repositoriesOf(dir) })),
  );
  return clones
    .filter(({ repositories }) => repositories.length > 0)
    .sort((a, b) => a.dir.localeCompare(b.dir));
}

/** What is equal for all addresses of a repository; `base` is what a path of this machine is relative to. */
export function repositoryKey(url: string, base: string): string {
  return publicAddress(url) ?? resolve(base, url.replace(/^file:\/\//, "")).replace(/(\/?\.git)?\/*$/, "");
}

async function repositoriesOf(dir: string): Promise<string[]> {
  const config = await readConfig(join(dir, ".git"));
  const found: string[] = [];
  let inRemote = false;
  for (const line of config.split("\n")) {
    if (/^\s*\[/.test(line)) inRemote = /^\s*\[remote "/.test(line);
    const url = inRemote ? /^\s*url\s*=\s*"?(.*?)"?\s*$/.exec(line)?.[1] : undefined;
    if (url !== undefined) found.push(repositoryKey(url, dir));
  }
  return found;
}

/** Of a clone, or of what a worktree or a submodule points to; empty where it is none of them. */
async function readConfig(gitDir: string): Promise<string> {
  try {
    return await readFile(join(gitDir, "config"), "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EISDIR")) throw error;
  }
  const pointer = await readFile(gitDir, "utf8").catch(() => "");
  const [, worktree] = /^gitdir: (.+?)\s*$/.exec(pointer) ?? [];
  if (worktree === undefined) return "";
  const own = resolve(dirname(gitDir), worktree);
  const common = basename(dirname(own)) === "worktrees" ? join(own, "../..") : own;
  return readFile(join(common, "config"), "utf8").catch(() => "");
}
