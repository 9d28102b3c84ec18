/** A clone that somebody works in: how it stands to its remote and to a pin, bringing it up to date, and making one. */
import { rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, type ExecResult, lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { gitEnv, refuseHostile, safe } from "./git.ts";
import type { GitPin } from "./workspace.ts";

export interface GitSettings {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

export interface CloneStatus {
  /** Empty before the first commit. */
  commit: string;
  /** Undefined where no branch is checked out. */
  branch: string | undefined;
  /** Commits that the branch has beside its upstream's, and that its upstream has beside its own, as of the last fetch. */
  upstream: { name: string; ahead: number; behind: number } | undefined;
  /** Paths that are not committed as they are, untracked ones too. */
  changes: number;
}

export async function cloneStatus(dir: string, settings: GitSettings): Promise<CloneStatus> {
  const result = await git(
    dir,
    ["status", "--porcelain=v2", "--branch", "--untracked-files=normal"],
    settings,
  );
  if (result.exitCode !== 0) throw failure("git status", dir, result);
  const lines = result.stdout.split("\n").filter((line) => line !== "");
  const header = (name: string) =>
    lines.find((line) => line.startsWith(`# branch.${name} `))?.slice(`# branch.${name} `.length);
  const [commit, branch, name] = [header("oid"), header("head"), header("upstream")];
  const [, ahead, behind] = /^\+(\d+) -(\d+)$/.exec(header("ab") ?? "") ?? [];
  return {
    commit: commit === undefined || commit === "(initial)" ? "" : commit,
    branch: branch === "(detached)" ? undefined : branch,
    // A branch whose upstream is gone has none to be compared with.
    upstream:
      name === undefined || ahead === undefined
        ? undefined
        : { name, ahead: Number(ahead), behind: Number(behind) },
    changes: lines.filter((line) => !line.startsWith("#")).length,
  };
}

/** How far what is checked out is from a pin; undefined where the clone does not have the pinned commit. */
export async function distanceTo(
  dir: string,
  ref: string,
  settings: GitSettings,
): Promise<{ ahead: number; behind: number } | undefined> {
  for (const name of [`refs/tags/${ref}`, `refs/remotes/origin/${ref}`, ref]) {
    const args = ["rev-list", "--count", "--left-right", "--end-of-options", `HEAD...${name}`, "--"];
    const { exitCode, stdout } = await git(dir, args, settings);
    const [, ahead, behind] = /^(\d+)\s+(\d+)/.exec(stdout) ?? [];
    if (exitCode === 0 && ahead !== undefined) return { ahead: Number(ahead), behind: Number(behind) };
  }
  return undefined;
}

/** In words: the branch, how far it is from a pin, and what is not committed. Empty for a folder outside of git. */
export async function describeClone(
  dir: string,
  ref: string | undefined,
  settings: GitSettings,
): Promise<string> {
  const root = await git(dir, ["rev-parse", "--show-toplevel"], settings);
  if (root.exitCode !== 0) return "";
  const { branch, commit, changes } = await cloneStatus(dir, settings);
  const away = ref === undefined ? undefined : await distanceTo(dir, ref, settings);
  return [
    branch ?? commit.slice(0, 10),
    ...(ref === undefined ? [] : [away === undefined ? `without ${ref}` : `${distanceText(away)} ${ref}`]),
    ...(changes === 0 ? [] : [`${changes} uncommitted`]),
  ].join(", ");
}

function distanceText({ ahead, behind }: { ahead: number; behind: number }): string {
  if (ahead + behind === 0) return "at";
  return [ahead > 0 ? `${ahead} ahead of` : "", behind > 0 ? `${behind} behind` : ""]
    .filter((part) => part !== "")
    .join(" and ");
}

export interface Pulled {
  /** `left`: it is as it was, since only its owner can say what should become of it. */
  outcome: "updated" | "current" | "left" | "failed";
  /** Why it was left or failed; from where to where it was updated. */
  note: string;
}

/** Forwards the branch to its upstream where nothing can be lost by that; never merges, and never touches changed files. */
export async function pullClone(dir: string, settings: GitSettings): Promise<Pulled> {
  const left = (note: string): Pulled => ({ outcome: "left", note });
  const failed = ({ stderr }: ExecResult): Pulled => ({ outcome: "failed", note: lastLines(stderr, 2) });
  const before = await cloneStatus(dir, settings);
  if (before.branch === undefined) return left("no branch is checked out");
  const fetched = await git(dir, ["fetch", "--quiet", "--no-recurse-submodules"], settings);
  if (fetched.exitCode !== 0) return failed(fetched);
  const { upstream, changes, commit } = await cloneStatus(dir, settings);
  if (upstream === undefined) return left(`the branch ${before.branch} has no upstream`);
  if (upstream.behind === 0) return { outcome: "current", note: "" };
  if (changes > 0) return left("there are uncommitted changes");
  if (upstream.ahead > 0) return left(`the branch ${before.branch} and ${upstream.name} have diverged`);
  const merged = await git(dir, ["merge", "--ff-only", "--quiet", "@{upstream}"], settings);
  if (merged.exitCode !== 0) return failed(merged);
  const after = await cloneStatus(dir, settings);
  return { outcome: "updated", note: `${commit.slice(0, 10)} → ${after.commit.slice(0, 10)}` };
}

/**
 * A whole clone in a new folder, which appears when it is complete; on the pinned branch, or on the remote's own where the pin is
 * not a branch.
 */
export async function makeClone({ url, ref }: GitPin, dir: string, settings: GitSettings): Promise<void> {
  refuseHostile(url, ref);
  await using work = await tempDir(`.${basename(dir)}`, dirname(dir));
  const begun = join(work.path, "clone");
  const clone = (...args: string[]) =>
    exec("git", [...safe, "clone", "--quiet", "--recurse-submodules", ...args, "--", url, begun], {
      ...settings,
      env: gitEnv(settings.env),
    });
  const heads = ["ls-remote", "--quiet", "--exit-code", "--heads", "--", url, `refs/heads/${ref}`];
  const asked = await exec("git", [...safe, ...heads], { ...settings, env: gitEnv(settings.env) });
  const result = await (asked.exitCode === 0 ? clone(`--branch=${ref}`) : clone());
  if (result.exitCode !== 0) throw failure("git clone", dir, result);
  await rename(begun, dir);
}

function git(dir: string, args: string[], { env, signal }: GitSettings): Promise<ExecResult> {
  return exec("git", ["--no-optional-locks", ...safe, "-C", dir, ...args], {
    env: gitEnv(env),
    ...(signal === undefined ? {} : { signal }),
  });
}

function failure(what: string, dir: string, { stderr }: ExecResult): UserError {
  const said = lastLines(stderr, 3).replaceAll(/:\/\/[^/@\s]+@/g, "://");
  return new UserError(`${what} failed in ${dir}: ${said}`, { fix: "Run the same by hand to see more." });
}
