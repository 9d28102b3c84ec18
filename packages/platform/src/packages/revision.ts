/**
 * What git knows of a service's folder: the commit and its time, where it comes from, which tags lead to it, and what is
 * not committed. Nothing is changed, and the network is not asked.
 */
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import { gitEnv, publicAddress, safe } from "../project/git.ts";
import type { ProjectService } from "../project/workspace.ts";
import { compareVersions, isVersion } from "./version.ts";

export interface Revision {
  /** The full name of HEAD. */
  commit: string;
  /** When it was committed, in seconds since the epoch. */
  time: number;
  /** The address of the repository, without credentials; undefined where it is a path of this machine. */
  source: string | undefined;
  /** The version of the tag that counts: one on HEAD, else the highest one before it. */
  tag: string | undefined;
  /** Commits since the tag, or all commits where there is none. */
  distance: number;
  /** The history was cut off (`git clone --depth`): tags may be missing, and counts are too small. */
  shallow: boolean;
  /** Paths that are not committed as they are, from the top of the repository. */
  changes: string[];
}

export interface GitSettings {
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

export async function readRevision(service: ProjectService, settings: GitSettings): Promise<Revision> {
  const git = (...args: string[]) => runGit(service.dir, args, settings);
  const head = await tryGit(service.dir, ["log", "-1", "--no-show-signature", "--format=%H %ct"], settings);
  const [, commit, time] = /^([0-9a-f]{40,64}) (\d+)$/.exec(head.stdout.trim()) ?? [];
  if (commit === undefined || time === undefined) {
    throw new UserError(`${service.name} has no commit to package: ${lastLines(head.stderr, 1)}`, {
      code: "config",
      at: service.dir,
      fix: "Commit the service's folder to a git repository; a package says which commit it was made from.",
    });
  }
  const [changes, shallow, remote, onHead, reachable] = await Promise.all([
    changesOf(service, settings),
    git("rev-parse", "--is-shallow-repository"),
    tryGit(service.dir, ["config", "--get", "remote.origin.url"], settings),
    git(...tagList, "--points-at", "HEAD"),
    git(...tagList, "--merged", "HEAD"),
  ]);
  const own = `${service.name}/v`;
  const prefix = versionTags(reachable, own).length > 0 ? own : "v";
  const found = versionTags(onHead, prefix).at(-1) ?? versionTags(reachable, prefix).at(-1);
  const range = found === undefined ? "HEAD" : `refs/tags/${found.name}..HEAD`;
  const distance = Number(await git("rev-list", "--count", range, "--"));
  return {
    commit,
    time: Number(time),
    // One spelling, so that the package's bytes do not depend on how its repository was cloned.
    source: publicAddress(remote.stdout.trim()),
    tag: found?.version,
    distance,
    shallow: shallow.trim() === "true",
    changes,
  };
}

const tagList = ["tag", "--no-column", "--format=%(refname:strip=2)"];

/** Changed and untracked files of the service's folder; ignored ones do not count. */
async function changesOf(service: ProjectService, settings: GitSettings): Promise<string[]> {
  const args = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", "."];
  const output = await runGit(service.dir, args, settings);
  // Two letters and a space, then the path.
  return output.split("\0").flatMap((entry) => (entry === "" ? [] : [entry.slice(3)]));
}

/** Paths below a folder that git would keep: tracked ones, and untracked ones that are not ignored. */
export async function listKept(dir: string, settings: GitSettings): Promise<string[]> {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", "."];
  const output = await runGit(dir, args, settings);
  return output
    .split("\0")
    .filter((path) => path !== "")
    .toSorted();
}

interface Tag {
  name: string;
  version: string;
}

/** The tags of a list that count, the highest last: `<service>/v1.2.3`, or `v1.2.3` where the service has none of its own. */
function versionTags(list: string, prefix: string): Tag[] {
  return list
    .split("\n")
    .filter((name) => name.startsWith(prefix) && isVersion(name.slice(prefix.length)))
    .map((name) => ({ name, version: name.slice(prefix.length) }))
    .toSorted((a, b) => compareVersions(a.version, b.version));
}

async function tryGit(dir: string, args: string[], { env, signal }: GitSettings) {
  return exec("git", [...safe, "-C", dir, ...args], {
    env: gitEnv(env),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function runGit(dir: string, args: string[], settings: GitSettings): Promise<string> {
  const result = await tryGit(dir, args, settings);
  if (result.exitCode === 0) return result.stdout;
  throw new UserError(`git ${args[0]} failed in ${dir}: ${lastLines(result.stderr, 3)}`, {
    fix: "Run `git status` there to see what is wrong.",
  });
}
