/** Waiting until git has done what it is doing in a folder: switching a branch is one change, however long it takes. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { sleep } from "@kws/base/retry";
import { isErrno } from "@kws/base/errors";

/** After that, the lock belongs to a git that died. */
const patienceMs = 10_000;
const pollMs = 50;

/** Resolves when nothing holds the index of the repository that the folder is in. */
export async function untilCheckedOut(folder: string, signal: AbortSignal): Promise<void> {
  const repository = repositoryOf(folder);
  if (repository === undefined) return;
  for (let waited = 0; existsSync(join(repository, "index.lock")) && waited < patienceMs; waited += pollMs) {
    await sleep(pollMs, signal);
  }
}

/** Its `.git`, which for a worktree is a file that names the place (https://git-scm.com/docs/gitrepository-layout). */
function repositoryOf(folder: string): string | undefined {
  for (let dir = folder; ; dir = dirname(dir)) {
    const path = join(dir, ".git");
    if (existsSync(path)) return resolve(dir, pointedTo(path) ?? path);
    if (dirname(dir) === dir) return undefined;
  }
}

function pointedTo(path: string): string | undefined {
  try {
    return /^gitdir: (.+)$/m.exec(readFileSync(path, "utf8"))?.[1];
  } catch (error) {
    if (isErrno(error, "EISDIR")) return undefined;
    throw error;
  }
}
