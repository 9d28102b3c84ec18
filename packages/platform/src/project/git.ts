/**
 * Services that live in git repositories: cloned with the user's own git (and so with its credentials) into the cache,
 * and checked out at a pinned ref.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { exec, type ExecResult, lastLines, run } from "@kws/base/exec";
import { ownedDir } from "@kws/base/tempdir";

export interface GitOptions {
  cache: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Fetch again where the pin has moved: for branches and moved tags. */
  refresh?: boolean;
  /** With all commits and tags, for versions and histories; else the pinned commit alone. */
  history?: boolean;
  /** Where the source is written, for errors. */
  at?: string;
  /** Called around a clone that has to be made, with its address. */
  onClone?: <T>(url: string, clone: () => Promise<T>) => Promise<T>;
}

/** Where the checkout of a pin is, or will be. */
export function checkoutFolder(
  url: string,
  ref: string,
  { cache, history }: Pick<GitOptions, "cache" | "history">,
): string {
  return join(cache, "git", `${hash(url)}-${hash(ref)}${history === true ? "-history" : ""}`);
}

/**
 * The folder of a checkout; cloned on first use, and never touched by the network afterwards unless `refresh` is set. It appears
 * as a whole: what was begun by a process that was killed is in nobody's way, and removed by the next clone.
 */
export async function checkout(url: string, ref: string, options: GitOptions): Promise<string> {
  refuseHostile(url, ref, options.at);
  const target = checkoutFolder(url, ref, options);
  if (existsSync(target) && (options.refresh !== true || (await isCurrent(target, url, ref, options)))) {
    return target;
  }
  const { onClone = (_url, work) => work() } = options;
  return onClone(withoutPassword(url), () => clonePin(target, url, ref, options));
}

async function clonePin(target: string, url: string, ref: string, options: GitOptions): Promise<string> {
  const owner = { host: hostname(), pid: process.pid };
  await using work = await ownedDir(join(options.cache, "git", "work"), owner);
  const clone = join(work.path, "clone");
  await run("git", [...safe, "init", "--quiet", "--template=", clone], settingsOf(options));
  const git = (...args: string[]) => exec("git", [...safe, "-C", clone, ...args], settingsOf(options));
  await git("config", "remote.origin.url", url);
  const commit = await fetchPin(git, url, ref, options);
  await done(git("checkout", "--quiet", "--detach", commit), `check out ${ref} of`, url, options.at);
  if (existsSync(join(clone, ".gitmodules"))) {
    const submodules = git("submodule", "--quiet", "update", "--init", "--recursive");
    await done(submodules, "fetch the submodules of", url, options.at);
  }
  if (existsSync(target)) await rename(target, join(work.path, "replaced"));
  try {
    await rename(clone, target);
  } catch (error) {
    // Another process was faster; what it made is the same.
    if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
  }
  return target;
}

type Git = (...args: string[]) => Promise<ExecResult>;

/** The commit that the ref stands for, with what a checkout of it needs. */
async function fetchPin(git: Git, url: string, ref: string, { at, history }: GitOptions): Promise<string> {
  const fetch = (...args: string[]) =>
    git("fetch", "--quiet", "--no-write-fetch-head", "--no-recurse-submodules", ...args);
  if (history !== true) {
    const kept = `+${ref}:refs/kws/pin`;
    const fetched = await fetch("--depth=1", "--no-tags", "origin", kept);
    const commit = fetched.exitCode === 0 ? await commitOf(git, "refs/kws/pin") : undefined;
    if (commit !== undefined) return commit;
    // A short commit has to be looked for, and not every server gives away a commit that no branch ends in, or a part of a history.
    const isCommit = /^[0-9a-f]{4,64}$/.test(ref);
    if (!isCommit && !/does not support/.test(fetched.stderr)) {
      if (/couldn't find remote ref/.test(fetched.stderr)) throw noSuchRef(url, ref, at);
      await done(Promise.resolve(fetched), "clone", url, at);
    }
  }
  const all = fetch("--filter=blob:none", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*");
  await done(all, "clone", url, at);
  for (const name of [`refs/tags/${ref}`, `refs/remotes/origin/${ref}`, ref]) {
    const commit = await commitOf(git, name);
    if (commit !== undefined) return commit;
  }
  throw noSuchRef(url, ref, at);
}

async function commitOf(git: Git, name: string): Promise<string | undefined> {
  const result = await git("rev-parse", "--quiet", "--verify", "--end-of-options", `${name}^{commit}`);
  const commit = result.stdout.trim();
  return result.exitCode === 0 && /^[0-9a-f]{40,64}$/.test(commit) ? commit : undefined;
}

/** Whether the remote still means the commit that is checked out. */
async function isCurrent(target: string, url: string, ref: string, options: GitOptions): Promise<boolean> {
  if (/^[0-9a-f]{40,64}$/.test(ref)) return true;
  // What a tag is of stands after the tag itself, with ^{} at its end.
  const names = [`refs/tags/${ref}^{}`, `refs/tags/${ref}`, `refs/heads/${ref}`, ref];
  const settings = settingsOf(options);
  const [listed, head] = await Promise.all([
    exec("git", [...safe, "ls-remote", "--quiet", "--", url, ...names], settings),
    commitOf((...args) => exec("git", [...safe, "-C", target, ...args], settings), "HEAD"),
  ]);
  const commits = new Map(
    listed.stdout.split("\n").map((line): [string, string] => {
      const [commit = "", name = ""] = line.split("\t");
      return [name, commit];
    }),
  );
  const meant = names.find((name) => commits.has(name));
  return meant !== undefined && commits.get(meant) === head;
}

function settingsOf({ env, signal }: GitOptions): { env: NodeJS.ProcessEnv; signal?: AbortSignal } {
  return { env: gitEnv(env), ...(signal === undefined ? {} : { signal }) };
}

async function done(running: Promise<ExecResult>, what: string, url: string, at?: string): Promise<void> {
  const { exitCode, stderr } = await running;
  if (exitCode === 0) return;
  throw new UserError(
    `git cannot ${what} ${withoutPassword(url)}: ${lastLines(withoutPassword(stderr), 3)}`,
    {
      fix: "Check the address, and that `git clone` with it works in this shell.",
      ...(at === undefined ? {} : { at }),
    },
  );
}

function noSuchRef(url: string, ref: string, at?: string): UserError {
  return new UserError(`${withoutPassword(url)} has no commit, tag or branch "${ref}"`, {
    code: "config",
    fix: "Correct the ref.",
    ...(at === undefined ? {} : { at }),
  });
}

/** For every git that is started: `ext::` runs any command; hooks and fsmonitor are the user's, and nothing here needs them. */
export const safe = [
  "-c",
  "protocol.ext.allow=never",
  "-c",
  "core.hooksPath=/dev/null",
  "-c",
  "core.fsmonitor=false",
];

/** Refuses what git would read as an option or as a command to run, whoever wrote the file. */
export function refuseHostile(url: string, ref: string, at?: string): void {
  const place = at === undefined ? {} : { at };
  if (/^[a-z][a-z0-9+.-]*::/i.test(url) || url.startsWith("-") || hasControl(url)) {
    throw new UserError(`"${url}" is not an address that kws clones from`, {
      code: "config",
      fix: "Use https://…, ssh://…, git@host:path or a local path.",
      ...place,
    });
  }
  if (ref.startsWith("-") || hasControl(ref) || /[\s~^:?*[\\]|\.\.|@\{/.test(ref)) {
    throw new UserError(`"${ref}" is not a ref`, {
      code: "config",
      fix: "Pin a commit, a tag or a branch.",
      ...place,
    });
  }
}

function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 32 || code === 127) return true;
  }
  return false;
}

/** Without what would send git to another repository than the one that is meant, and without prompts. */
export function gitEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(
    ([key]) => !/^GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY)$/.test(key),
  );
  return { ...Object.fromEntries(kept), GIT_TERMINAL_PROMPT: "0", LC_ALL: "C" };
}

function withoutPassword(text: string): string {
  return text.replaceAll(/:\/\/[^/@\s]+@/g, "://");
}

/** One spelling for one repository, however it is reached; undefined for a path of this machine. */
export function publicAddress(remote: string): string | undefined {
  const [, host, path] =
    /^(?:https?|ssh|git):\/\/(?:[^@/]*@)?([^/:]+)(?::\d+)?\/(.+)$/.exec(remote) ??
    /^(?:[^@/:]+@)([^/:]+):(.+)$/.exec(remote) ??
    [];
  if (host === undefined || path === undefined) return undefined;
  const clean = path
    .replace(/^\/+/, "")
    .replace(/\/+$/, "")
    .replace(/\.git$/, "");
  return `https://${host.toLowerCase()}/${clean}`;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 20);
}
