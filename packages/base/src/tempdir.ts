/** Temporary folders that go away with their scope, also when that scope throws. */
import { mkdtemp, readdir, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeFolder } from "./folder.ts";
import { isGone, processName } from "./process.ts";

export interface TempDir extends AsyncDisposable {
  path: string;
}

/** `await using dir = await tempDir("name")`: a private folder (0700) that is removed at the end of the block. */
export async function tempDir(prefix: string, parent: string = tmpdir()): Promise<TempDir> {
  const path = await realpath(await mkdtemp(join(parent, `${prefix}-`)));
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await rm(path, { recursive: true, force: true });
    },
  };
}

/**
 * Like `tempDir`, in a parent that is made where it is missing, and in which folders of processes that were killed are removed.
 * `owner` is this process, as others on the machine know it.
 */
export async function ownedDir(parent: string, owner: { host: string; pid: number }): Promise<TempDir> {
  await makeFolder(parent, { mode: 0o700 });
  for (const name of await readdir(parent)) {
    const process = name.slice(0, name.lastIndexOf("-")).replaceAll(",", "/");
    if (isGone(process, owner.host)) await rm(join(parent, name), { recursive: true, force: true });
  }
  return tempDir(processName(owner.host, owner.pid).replaceAll("/", ","), parent);
}
