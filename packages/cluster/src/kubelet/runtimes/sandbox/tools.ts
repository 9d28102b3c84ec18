/**
 * The folder of programs with which containers are made: copies of the host's own, with the dynamic loader and the
 * libraries they need, so that they work after pivot_root inside an image that has none of them.
 */
import { execFile } from "node:child_process";
import {
  access,
  chmod,
  constants,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { UserError, isErrno } from "@kws/base/errors";
import { scripts } from "./scripts.ts";

const run = promisify(execFile);

const inside = [
  "sh",
  "mount",
  "umount",
  "mkdir",
  "rmdir",
  "cp",
  "chown",
  "chgrp",
  "env",
  "setpriv",
  "unshare",
];
/** Needed for terminals alone. */
const optional = ["script"];
const outside = ["pivot_root", "nsenter", "prlimit", "ldd"];

/** Debian package by program, for advice. */
const packages: Record<string, string> = { ldd: "libc-bin", ip: "iproute2", script: "bsdutils" };

/** Folders that hold system programs; a caller's PATH may lack the sbin ones. */
const folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/** PATH for everything that runs outside of containers. */
export const systemPath = folders.join(":");

/** The full path of a system program, or undefined where there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

/** Throws `tool-missing` for the first of the programs that the machine lacks. */
export async function requirePrograms(names: string[] = [...inside, ...outside]): Promise<void> {
  for (const name of names) {
    if (await findProgram(name)) continue;
    const from =
      packages[name] ??
      (["mkdir", "rmdir", "cp", "chown", "chgrp", "env"].includes(name) ? "coreutils" : "util-linux");
    throw new UserError(`containers need the program "${name}", which this machine does not have`, {
      code: "tool-missing",
      fix: `install the package ${from}, for example: apt-get install ${from}`,
    });
  }
}

/** Makes the folder, or leaves it as it is when it is already complete and of this version. */
export async function assembleTools(folder: string): Promise<void> {
  const version = JSON.stringify(scripts);
  if ((await versionOf(folder)) === version) return;

  await requirePrograms();
  const programs = (await Promise.all([...inside, ...optional].map(findProgram))).filter(
    (path) => path !== undefined,
  );
  const { stdout } = await run("ldd", programs, { env: { PATH: systemPath, LC_ALL: "C" } });
  const libraries = new Set<string>();
  let loader: string | undefined;
  for (const line of stdout.split("\n")) {
    const path = /(?:=> |^\s+)(\/\S+) \(0x/.exec(line)?.[1];
    if (!path) continue;
    if (/\/ld(-linux|64)?[^/]*\.so[^/]*$/.test(path)) loader = path;
    else libraries.add(path);
  }
  if (!loader) {
    throw new UserError("cannot tell which dynamic loader this machine's programs use", {
      code: "tool-missing",
      fix: "use a Linux distribution with glibc",
    });
  }

  await mkdir(dirname(folder), { recursive: true });
  const draft = await mkdtemp(`${folder}.`);
  try {
    await mkdir(join(draft, "bin"));
    await mkdir(join(draft, "lib"));
    const copy = async (from: string, to: string) => {
      await copyFile(from, to, constants.COPYFILE_FICLONE);
      await chmod(to, 0o755);
    };
    await Promise.all([
      copy(loader, join(draft, "ld.so")),
      ...programs.map((path) => copy(path, join(draft, "bin", basename(path)))),
      ...[...libraries].map((path) => copy(path, join(draft, "lib", basename(path)))),
      ...Object.entries(scripts).map(async ([name, text]) => {
        await writeFile(join(draft, name), text);
        await chmod(join(draft, name), 0o755);
      }),
      writeFile(join(draft, "version"), version),
    ]);
    await Promise.all([draft, join(draft, "bin"), join(draft, "lib")].map((path) => chmod(path, 0o755)));
    if (await moved(draft, folder)) return;
    // One of this version was assembled meanwhile, and may be in use already: it is equally good.
    if ((await versionOf(folder)) === version) return;
    await rm(folder, { recursive: true, force: true });
    await moved(draft, folder);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** False where something is in that place. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
    return false;
  }
}

function versionOf(folder: string): Promise<string | undefined> {
  return readFile(join(folder, "version"), "utf8").catch(() => undefined);
}
