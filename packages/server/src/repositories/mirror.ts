/** The server's own copies of repositories: bare clones that can be made again. */
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { lastLines, run } from "@kws/base/exec";
import { ownedDir } from "@kws/base/tempdir";
import { gitEnv, refuseHostile, safe } from "@kws/platform/project/git";

export interface MirrorOptions {
  /** The folder of all mirrors is in it. */
  cache: string;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
}

const fetchTimeoutMs = 10 * 60_000;

export function mirrorFolder(cache: string, id: string): string {
  return join(cache, "repositories", `${id}.git`);
}

/** Brings the mirror up to date, or makes it, and gives the branch's commit. What a remote has deleted is deleted. */
export async function fetchMirror(
  { id, url, branch }: { id: string; url: string; branch: string },
  options: MirrorOptions,
): Promise<string> {
  refuseHostile(url, branch);
  const { cache, env, signal } = options;
  const target = mirrorFolder(cache, id);
  const git = async (...args: string[]) => {
    // With the helpers that git starts: one that waits for a silent host does not notice that git has ended.
    const settings = { env: gitEnv(env), signal, timeoutMs: fetchTimeoutMs, detached: true };
    return (
      await run("git", [...safe, ...args], settings).catch((error: unknown) => {
        throw withoutPassword(error);
      })
    ).stdout.trim();
  };
  if (!existsSync(target)) {
    await using work = await ownedDir(join(cache, "repositories", "work"), {
      host: hostname(),
      pid: process.pid,
    });
    const begun = join(work.path, "mirror");
    await git("clone", "--quiet", "--mirror", "--", url, begun);
    // Another server on the same folder may have been faster.
    await rename(begun, target).catch((error: unknown) => {
      if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
    });
  }
  await git(
    "-C",
    target,
    "fetch",
    "--quiet",
    "--prune",
    "--",
    url,
    "+refs/heads/*:refs/heads/*",
    "+refs/tags/*:refs/tags/*",
  );
  return git(
    "-C",
    target,
    "rev-parse",
    "--verify",
    "--end-of-options",
    `refs/heads/${branch}^{commit}`,
  ).catch(() => {
    throw new UserError(`there is no branch "${branch}"`, { code: "config", fix: "Name one that there is." });
  });
}

export async function removeMirror(cache: string, id: string): Promise<void> {
  await rm(mirrorFolder(cache, id), { recursive: true, force: true });
}

function withoutPassword(error: unknown): unknown {
  if (!(error instanceof UserError)) return error;
  const message = lastLines(error.message.replaceAll(/:\/\/[^/@\s]+@/g, "://"), 3);
  return new UserError(message, {
    code: error.code,
    fix: "Check the address, and the server's access to it.",
  });
}
