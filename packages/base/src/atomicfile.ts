/**
 * Replacing a file as a whole: readers, and whoever comes after a crash, find the old content or the new one, never a part.
 * After a power failure it may be the old one; what has to be durable belongs into a database.
 */
import { randomUUID } from "node:crypto";
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";

export interface ReplaceOptions {
  /** Exactly these permission bits, whatever the umask; a new file's usual ones unless given. */
  mode?: number;
}

/**
 * The content, or a function that writes it to the path that it is given. The folder has to exist. Where anything fails the
 * old file stays, and nothing new is left beside it.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array | ((temporary: string) => Promise<void>),
  options: ReplaceOptions = {},
): Promise<void> {
  const temporary = temporaryFor(path);
  try {
    if (typeof content === "function") await content(temporary);
    const file = await open(temporary, typeof content === "function" ? "r+" : "wx", options.mode);
    try {
      if (typeof content !== "function") await file.writeFile(content);
      if (options.mode !== undefined) await file.chmod(options.mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The same for callers that may not wait. */
export function replaceFileSync(path: string, content: string, options: ReplaceOptions = {}): void {
  const temporary = temporaryFor(path);
  try {
    const file = openSync(temporary, "wx", options.mode);
    try {
      writeFileSync(file, content);
      if (options.mode !== undefined) fchmodSync(file, options.mode);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** In the same folder: a rename between file systems would be a copy. */
function temporaryFor(path: string): string {
  return `${path}.${randomUUID()}.tmp`;
}
