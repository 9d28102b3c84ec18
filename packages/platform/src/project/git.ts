/**
 * Services that live in git repositories: cloned with the user's own git (and so with its credentials) into the cache,
 * and checked out at a pinned ref.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, lastLines, run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";

export interface GitOptions {
  cache: string;
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
  /** Fetch again even though the pin is there: for branches and moved tags. */
  refresh?: boolean;
  /** Where the source is written, for errors. */
  at?: string;
}

/** The folder of a checkout; cloned on first use, and never touched by the network afterwards unless `refresh` is set. */
export async function checkout(url: string, ref: string, options: GitOptions): Promise<string> {
  refuseHostile(url, ref, options.at);
  const target = join(options.cache, "git", `${hash(url)}-${hash(ref)}`);
  if (existsSync(target) && options.refresh !== true) return target;
  const settings = {
    env: gitEnv(options.env),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  await mkdir(dirname(target), { recursive: true });
  await using work = await tempDir("clone", dirname(target));
  const clone = join(work.path, "repository");
  const cloned = await exec(
    "git",
    [...safe, "clone", "--quiet", "--no-checkout", "--", url, clone],
    settings,
  );
  if (cloned.exitCode !== 0) {
    throw new UserError(
      `git cannot clone ${withoutPassword(url)}: ${lastLines(withoutPassword(cloned.stderr), 3)}`,
      {
        fix: "Check the address, and that `git clone` with it works in this shell.",
        ...(options.at === undefined ? {} : { at: options.at }),
      },
    );
  }
  const commit = await resolveRef(clone, ref, settings);
  if (commit === undefined) {
    throw new UserError(`${withoutPassword(url)} has no commit, tag or branch "${ref}"`, {
      code: "config",
      fix: "Correct the ref.",
      ...(options.at === undefined ? {} : { at: options.at }),
    });
  }
  await run("git", [...safe, "-C", clone, "checkout", "--quiet", "--detach", commit], settings);
  await rm(target, { recursive: true, force: true });
  await rename(clone, target);
  return target;
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

async function resolveRef(
  clone: string,
  ref: string,
  settings: { env: NodeJS.ProcessEnv; signal?: AbortSignal },
): Promise<string | undefined> {
  for (const name of [`refs/tags/${ref}`, `refs/remotes/origin/${ref}`, ref]) {
    const args = ["-C", clone, "rev-parse", "--quiet", "--verify", "--end-of-options", `${name}^{commit}`];
    const result = await exec("git", [...safe, ...args], settings);
    const commit = result.stdout.trim();
    if (result.exitCode === 0 && /^[0-9a-f]{40,64}$/.test(commit)) return commit;
  }
  return undefined;
}

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

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 20);
}
