/**
 * Publishes a set of files so that readers see either all old or all new ones, in the layout that programs know from
 * Kubernetes: the files in `..<time>.<n>/`, the link `..data` to it, and each top-level name a link through `..data`.
 */
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { isErrno } from "@kws/base/errors";

export interface ProjectedFile {
  data: Uint8Array;
  /** Permission bits. */
  mode: number;
}

/** Writes the files (by relative path) under `target`; answers whether anything has changed. */
export async function writeAtomically(
  target: string,
  files: ReadonlyMap<string, ProjectedFile>,
  owner: { uid?: number; gid?: number } = {},
): Promise<boolean> {
  await mkdir(target, { recursive: true });
  const current = await linkTarget(join(target, "..data"));
  if (current !== undefined && (await isSame(join(target, current), files))) return false;
  const stamp = new Date().toISOString().replaceAll(/[-:]/g, "_").replace("T", "_").slice(0, 19);
  const fresh = await mkdtemp(join(target, `..${stamp}.`));
  await chmod(fresh, 0o755);
  for (const [path, { data, mode }] of files) {
    const file = join(fresh, checked(path));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, data);
    // writeFile's own mode passes through the umask.
    await chmod(file, mode);
    if (owner.uid !== undefined || owner.gid !== undefined) await own(file, owner);
  }
  const temporary = join(target, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(fresh.slice(target.length + 1), temporary);
  await rename(temporary, join(target, "..data"));
  await linkNames(target, files);
  if (current !== undefined) await rm(join(target, current), { recursive: true, force: true });
  return true;
}

async function linkNames(target: string, files: ReadonlyMap<string, ProjectedFile>): Promise<void> {
  const wanted = new Set([...files.keys()].map((path) => checked(path).split("/")[0] ?? path));
  for (const name of await readdir(target)) {
    if (name.startsWith("..")) continue;
    if (wanted.has(name)) wanted.delete(name);
    else await rm(join(target, name), { force: true });
  }
  for (const name of wanted) await symlink(join("..data", name), join(target, name));
}

/** Keys and item paths come from users: they must stay inside the volume. */
function checked(path: string): string {
  const clean = normalize(path);
  if (clean.startsWith("/") || clean.split("/").some((part) => part.startsWith(".."))) {
    throw new Error(`invalid path ${JSON.stringify(path)}: must be relative and must not contain ".."`);
  }
  return clean;
}

async function linkTarget(link: string): Promise<string | undefined> {
  try {
    return await readlink(link);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function isSame(folder: string, files: ReadonlyMap<string, ProjectedFile>): Promise<boolean> {
  const present = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const names = present.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  if (names.length !== files.size) return false;
  for (const [path, { data, mode }] of files) {
    const file = join(folder, checked(path));
    if (!names.includes(file)) return false;
    const [old, info] = await Promise.all([readFile(file), stat(file)]);
    if ((info.mode & 0o777) !== (mode & 0o777) || Buffer.compare(old, data) !== 0) return false;
  }
  return true;
}

async function own(file: string, { uid, gid }: { uid?: number; gid?: number }): Promise<void> {
  try {
    const info = await stat(file);
    await chown(file, uid ?? info.uid, gid ?? info.gid);
  } catch (error) {
    // An ordinary user cannot give files away; inside their user namespace there is nobody to give them to either.
    if (!isErrno(error, "EPERM", "EINVAL")) throw error;
  }
}
