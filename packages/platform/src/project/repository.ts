/** The git repository that a folder of the workspace lies in: what was committed, and by whom. */
import { isAbsolute, relative } from "node:path";
import { realpath } from "node:fs/promises";
import { UserError } from "@kws/base/errors";
import { exec, type ExecResult, lastLines } from "@kws/base/exec";
import { gitEnv } from "./git.ts";

export interface Repository {
  root: string;
  /** The path below the root of a file by its absolute path; with `/` on every system. */
  pathOf(file: string): string;
  /** Runs git in the root, whatever its exit code. */
  git(args: string[], input?: string): Promise<ExecResult>;
  /** Its standard output; throws what git said where it fails. */
  read(args: string[]): Promise<string>;
}

export interface Commit {
  /** 40 or 64 hexadecimal digits. */
  id: string;
  author: string;
  email: string;
  /** RFC 3339 UTC, of the commit. */
  date: string;
  subject: string;
  /** The first parent; undefined for the first commit. */
  parent?: string;
}

export async function openRepository(
  dir: string,
  options: {
    env: NodeJS.ProcessEnv;
    signal?: AbortSignal;
    /** Another index than the repository's. */ index?: string;
  },
): Promise<Repository> {
  const settings = {
    env: {
      ...gitEnv(options.env),
      ...(options.index === undefined ? {} : { GIT_INDEX_FILE: options.index }),
    },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  const found = await exec("git", ["-C", dir, "rev-parse", "--show-toplevel"], settings);
  if (found.exitCode !== 0) {
    throw new UserError(`${dir} is not in a git repository: ${lastLines(found.stderr, 2)}`, {
      code: "config",
      fix: "Put the service under git: `git init`, then commit it.",
    });
  }
  const root = await realpath(found.stdout.trimEnd());
  const git: Repository["git"] = (args, input) =>
    exec("git", ["-C", root, ...args], { ...settings, ...(input === undefined ? {} : { input }) });
  return {
    root,
    pathOf(file) {
      const path = relative(root, file);
      if (path.startsWith("..") || isAbsolute(path)) throw new Error(`${file} is not below ${root}`);
      return path.replaceAll("\\", "/");
    },
    git,
    async read(args) {
      const result = await git(args);
      if (result.exitCode === 0) return result.stdout;
      throw new UserError(`git ${args[0]} failed in ${root}: ${lastLines(result.stderr, 3)}`);
    },
  };
}

/** The commit that a revision names. */
export async function resolveCommit(repository: Repository, revision: string): Promise<string> {
  const args = ["rev-parse", "--quiet", "--verify", "--end-of-options", `${revision}^{commit}`];
  const result = await repository.git(args);
  const id = result.stdout.trim();
  if (result.exitCode === 0 && /^[0-9a-f]{40,64}$/.test(id)) return id;
  throw new UserError(`${repository.root} has no commit "${revision}"`, {
    code: "not-found",
    fix: "See the commits with `git log`.",
  });
}

/** The commits that changed any of the paths, newest first. */
export async function commitsOf(repository: Repository, paths: string[], limit?: number): Promise<Commit[]> {
  const format = "%H%x00%P%x00%an%x00%ae%x00%ct%x00%s";
  const count = limit === undefined ? [] : [`--max-count=${limit}`];
  const head = await repository.git(["rev-parse", "--quiet", "--verify", "HEAD"]);
  if (head.exitCode !== 0) return [];
  const text = await repository.read(["log", "-z", `--format=${format}`, ...count, "--", ...paths]);
  const fields = text.split("\0");
  const commits: Commit[] = [];
  for (let at = 0; at + 5 < fields.length; at += 6) {
    const [id = "", parents = "", author = "", email = "", seconds = "", subject = ""] = fields.slice(
      at,
      at + 6,
    );
    const parent = parents.split(" ")[0];
    const date = new Date(Number(seconds) * 1000).toISOString();
    commits.push({ id, author, email, date, subject, ...(parent ? { parent } : {}) });
  }
  return commits;
}

/** A file as a commit has it; undefined where it does not have it. */
export async function fileAt(
  repository: Repository,
  commit: string,
  path: string,
): Promise<string | undefined> {
  const result = await repository.git(["cat-file", "blob", `${commit}:${path}`]);
  return result.exitCode === 0 ? result.stdout : undefined;
}

/** What identifies a file's content, by `commit:path`; nothing for files that are not there. One run of git for all of them. */
export async function contentIds(repository: Repository, names: string[]): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  const result = await repository.git(
    ["cat-file", "--batch-check"],
    names.map((name) => `${name}\n`).join(""),
  );
  for (const [index, line] of result.stdout.split("\n").entries()) {
    const id = /^([0-9a-f]{40,64}) blob \d+$/.exec(line)?.[1];
    if (id !== undefined) ids.set(names[index] ?? "", id);
  }
  return ids;
}
