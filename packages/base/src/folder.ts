/**
 * Making folders where people say. Node's recursive `mkdir` takes ENOENT for a parent that is missing and tries again for ever
 * where the kernel means that nothing can be made there, as below /proc.
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { isErrno, UserError } from "./errors.ts";

export interface FolderOptions {
  /** Of the folders that are made, under the umask; 0o777 unless given. */
  mode?: number;
  /** What to do where it cannot be made. */
  fix?: string;
}

/**
 * Makes the folder and its parents where they are missing. Throws `config` where something else has the name, or the file
 * system takes no folders; errors of the system, such as EACCES, as they are.
 */
export async function makeFolder(path: string, options: FolderOptions = {}): Promise<void> {
  if (await makeOne(path, options)) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolder(parent, options);
  if (await makeOne(path, options)) return;
  throw unmakeable(path, `${parent} takes no folders`, options);
}

/** False where its parent is missing, or so the system says. */
async function makeOne(path: string, options: FolderOptions): Promise<boolean> {
  try {
    await mkdir(path, options.mode);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    if (isErrno(error, "ENOTDIR")) throw unmakeable(path, "a file is in its way", options);
    // Read-only file systems and parents that may not be written say so of what exists, too.
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory() === true) return true;
    if (isErrno(error, "EEXIST")) throw unmakeable(path, "a file is in its way", options);
    throw error;
  }
}

function unmakeable(path: string, why: string, { fix }: FolderOptions): UserError {
  return new UserError(`the folder ${path} cannot be made: ${why}`, {
    code: "config",
    fix: fix ?? "Name a folder that can be made.",
  });
}
