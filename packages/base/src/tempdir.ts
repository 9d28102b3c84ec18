/** Temporary folders that go away with their scope, also when that scope throws. */
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
