/**
 * Takes a change of a service's configuration back, as a commit of its own: either what one revision changed, merged with all
 * that came after it, or everything, to how it was at a revision. The values of encrypted files are taken back one by one and
 * their recipients stay; without a key such files are taken back as they stand.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { SopsError } from "@kws/sops/errors";
import { isEncrypted } from "@kws/sops/file";
import { formatOfPath } from "@kws/sops/formats";
import { commitsOf, fileAt, type Repository, resolveCommit } from "../project/repository.ts";
import { type Merged, mergeEncrypted } from "../secrets/merge.ts";
import type { Sides } from "../secrets/merge-trees.ts";
import type { Tools } from "../secrets/operations.ts";
import { type Change, compare } from "./changes.ts";

export interface RevertOptions {
  service: string;
  profile: string;
  /** Paths below the repository's root. */
  paths: string[];
  /** Undo what this revision changed, or go back to how it was at it. */
  undo?: string;
  to?: string;
  reason?: string;
  /** Changes nothing. */
  dryRun?: boolean;
  /** Opens encrypted files. */
  keys?: Pick<Tools, "keyring" | "now">;
}

export interface Reverted {
  /** The new commit; undefined in a dry run, and where there was nothing to change. */
  commit?: string;
  files: { path: string; changes: Change[] }[];
}

export async function revertConfig(repository: Repository, options: RevertOptions): Promise<Reverted> {
  const { undo, to } = options;
  const revision = undo ?? to;
  if (revision === undefined || (undo !== undefined && to !== undefined)) {
    throw new UserError("name one revision: the one to undo, or the one to go back to with --to", {
      code: "usage",
      fix: "See the revisions with `kws config history`.",
    });
  }
  await refuseUncommitted(repository, options.paths);
  const commit = await resolveCommit(repository, revision);
  const planned = await Promise.all(
    options.paths.map(async (path) => {
      const now = await fileAt(repository, "HEAD", path);
      const target =
        to === undefined
          ? await undone(repository, commit, path, now, options.keys)
          : await wentBack(repository, commit, path, now, options.keys);
      return { path, now, target, changes: now === target ? [] : compare(path, now, target).changes };
    }),
  );
  const changed = planned.filter(({ now, target }) => now !== target);
  const files = changed.map(({ path, changes }) => ({ path, changes }));
  if (changed.length === 0 || options.dryRun === true) return { files };
  const subject =
    to === undefined
      ? `Revert "${await subjectOf(repository, commit)}" in ${options.service} (${options.profile})`
      : `Configuration of ${options.service} (${options.profile}) as of ${commit.slice(0, 12)}`;
  const reason = options.reason === undefined ? "" : `${options.reason}\n\n`;
  const trailer = to === undefined ? `This reverts commit ${commit}.` : `Taken from commit ${commit}.`;
  return { commit: await commitFiles(repository, changed, `${subject}\n\n${reason}${trailer}\n`), files };
}

async function refuseUncommitted(repository: Repository, paths: string[]): Promise<void> {
  const status = await repository.read(["status", "--porcelain", "-z", "--", ...paths]);
  const [first] = status.split("\0");
  if (first === undefined || first === "") return;
  throw new UserError(`${join(repository.root, first.slice(3))} has changes that are not committed`, {
    code: "conflict",
    fix: "Commit them, or take them back with `git restore`.",
  });
}

/** The file as it is now without what the commit changed in it. */
async function undone(
  repository: Repository,
  commit: string,
  path: string,
  now: string | undefined,
  keys: RevertOptions["keys"],
): Promise<string | undefined> {
  const [after, before] = await Promise.all([
    fileAt(repository, commit, path),
    fileAt(repository, `${commit}^`, path),
  ]);
  if (after === before) return now;
  if (now !== undefined && after !== undefined && before !== undefined) {
    const sides = { base: after, ours: now, theirs: before };
    const merged = await mergedSecrets(sides, join(repository.root, path), keys);
    if (merged?.conflicts.length === 0) return merged.content;
    if (merged !== undefined) throw changedSince(commit, path, merged.conflicts);
  }
  if (now === after) return before;
  if (now === undefined || after === undefined || before === undefined) throw changedSince(commit, path);
  await using work = await tempDir("kws-revert");
  const file = async (name: string, text: string): Promise<string> => {
    const target = join(work.path, name);
    await writeFile(target, text, { mode: 0o600 });
    return target;
  };
  const versions = [await file("now", now), await file("after", after), await file("before", before)];
  const merged = await repository.git(["merge-file", "-p", "-q", ...versions]);
  if (merged.exitCode !== 0) throw changedSince(commit, path);
  return merged.stdout;
}

/** The file as the commit has it. */
async function wentBack(
  repository: Repository,
  commit: string,
  path: string,
  now: string | undefined,
  keys: RevertOptions["keys"],
): Promise<string | undefined> {
  const then = await fileAt(repository, commit, path);
  if (now === undefined || then === undefined || now === then) return then;
  const sides = { base: now, ours: now, theirs: then };
  return (await mergedSecrets(sides, join(repository.root, path), keys))?.content ?? then;
}

/** Undefined where the file is not encrypted, or no key opens all its versions. */
async function mergedSecrets(
  sides: Sides<string>,
  file: string,
  keys: RevertOptions["keys"],
): Promise<Merged | undefined> {
  const named = { format: formatOfPath(file), file };
  if (keys === undefined || !Object.values(sides).every((text: string) => isEncrypted(text, named)))
    return undefined;
  try {
    return await mergeEncrypted(sides, { ...named, ownKeys: true }, keys);
  } catch (error) {
    if (error instanceof SopsError && error.reason === "couldNotRetrieveKey") return undefined;
    throw error;
  }
}

function changedSince(commit: string, path: string, keys: string[] = []): UserError {
  const what = keys.length === 0 ? path : `${keys.join(", ")} of ${path}`;
  return new UserError(`what ${commit.slice(0, 12)} changed in ${what} was changed again since`, {
    code: "conflict",
    fix: "Revert the later revisions first, or go back to how all of it was with --to.",
  });
}

async function subjectOf(repository: Repository, commit: string): Promise<string> {
  return (await repository.read(["show", "--no-patch", "--format=%s", commit])).trim();
}

/** A commit of these files alone, whatever else is staged; nothing is changed where git refuses it. */
async function commitFiles(
  repository: Repository,
  files: { path: string; now: string | undefined; target: string | undefined }[],
  message: string,
): Promise<string> {
  const paths = files.map(({ path }) => path);
  const restore = async () => {
    for (const { path, now } of files) await write(join(repository.root, path), now);
    await repository.git(["reset", "--quiet", "--", ...paths]);
  };
  try {
    for (const { path, target } of files) await write(join(repository.root, path), target);
    await repository.read(["add", "--all", "--", ...paths]);
  } catch (error) {
    await restore();
    throw error;
  }
  const result = await repository.git(["commit", "--quiet", "--only", "--file=-", "--", ...paths], message);
  if (result.exitCode !== 0) {
    await restore();
    if (/tell me who you are/i.test(result.stderr)) {
      throw new UserError("git does not commit, because it does not know who you are", {
        code: "config",
        fix: "Run `git config user.name …` and `git config user.email …`, then the same command again; nothing was changed.",
      });
    }
    throw new UserError(`git does not commit: ${lastLines(result.stderr || result.stdout, 4)}`, {
      fix: "Mend what git says and run the same command again; nothing was changed.",
    });
  }
  const [made] = await commitsOf(repository, paths, 1);
  if (made === undefined) throw new Error("the commit is not there");
  return made.id;
}

async function write(file: string, text: string | undefined): Promise<void> {
  if (text === undefined) return rm(file, { force: true });
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}
