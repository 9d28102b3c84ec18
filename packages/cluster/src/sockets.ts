/** Where Unix sockets lie: where they are wanted, or in a short folder of the user's own where that path is too long for one. */
import { createHash } from "node:crypto";
import { chmod, mkdir, rm, rmdir } from "node:fs/promises";
import { isErrno } from "@kws/base/errors";
import { join } from "node:path";

/** The longest path that a Unix socket may have on Linux, without the final zero. */
const longestPath = 107;

/** The path to listen at. `shortFolder` is used instead of one in /tmp. */
export async function prepareSocket(wanted: string, shortFolder?: string): Promise<string> {
  const path = placeOf(wanted, shortFolder);
  if (path === wanted) return path;
  const folder = shortFolder ?? ownFolder();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (shortFolder === undefined) await chmod(folder, 0o700); // Fails where the folder is somebody else's.
  return path;
}

/** Removes what a process that was killed has left. */
export async function removeSocket(wanted: string, shortFolder?: string): Promise<void> {
  const path = placeOf(wanted, shortFolder);
  await rm(path, { force: true });
  if (path === wanted || shortFolder !== undefined) return;
  try {
    await rmdir(ownFolder());
  } catch (error) {
    // Other clusters have theirs in it.
    if (!isErrno(error, "ENOTEMPTY", "ENOENT", "EEXIST")) throw error;
  }
}

function placeOf(wanted: string, shortFolder: string | undefined): string {
  if (Buffer.byteLength(wanted) <= longestPath) return wanted;
  const name = createHash("sha256").update(wanted).digest("hex").slice(0, 16);
  return join(shortFolder ?? ownFolder(), `${name}.sock`);
}

function ownFolder(): string {
  return `/tmp/kws-${process.getuid?.() ?? 0}`;
}
