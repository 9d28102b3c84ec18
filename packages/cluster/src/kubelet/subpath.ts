/**
 * `subPath` of a volume mount, against containers that change the volume meanwhile
 * (https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath): links are followed once, by name, and the result is
 * then walked again from the volume down, one name at a time and through no link, each folder held open while the next is
 * looked up in it. What the walk ends at is inside the volume, whatever its names mean by then.
 */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  realpathSync,
} from "node:fs";
import { join, relative } from "node:path";
import { isErrno } from "@kws/base/errors";

/** From the kernel's fcntl.h; Node has no name for it. Opens a place in the tree and not what is there. */
const O_PATH = 0o10000000;

/** The place inside the volume, made when missing; throws when it leads out. */
export function resolveSubPath(volume: string, subPath: string): string {
  if (subPath.startsWith("/") || subPath.split("/").includes("..")) {
    throw new Error(`subPath ${JSON.stringify(subPath)} must be relative and must not contain ".."`);
  }
  const root = realpathSync(volume);
  let path = root;
  for (const name of names(subPath)) {
    path = join(path, name);
    try {
      path = realpathSync(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
    if (path !== root && !path.startsWith(root === "/" ? root : `${root}/`)) {
      throw new Error(`subPath ${JSON.stringify(subPath)} leads out of the volume`);
    }
  }
  // Elsewhere folders have no path by which they stay the same while they are looked into: the names are trusted.
  if (process.platform !== "linux") {
    if (!existsSync(path)) mkdirSync(path, { recursive: true });
    return path;
  }
  closeSync(openBelow(root, path, "create"));
  return path;
}

/**
 * A descriptor of the place, which lies below the root by name and through no link. The caller closes it. Missing folders
 * are made, where asked, with the mode of the folder that holds them.
 */
export function openBelow(root: string, path: string, missing: "create" | "refuse"): number {
  let fd = openSync(root, O_PATH);
  try {
    for (const name of names(relative(root, path))) {
      if (name === "..") throw new Error(`${path} lies outside of ${root}`);
      const next = openIn(fd, name, missing);
      closeSync(fd);
      fd = next;
      if (fstatSync(fd).isSymbolicLink()) throw new Error(`${path} became a symbolic link`);
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openIn(folder: number, name: string, missing: "create" | "refuse"): number {
  const path = `/proc/self/fd/${folder}/${name}`;
  const open = () => openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    return open();
  } catch (error) {
    if (missing === "refuse" || !isErrno(error, "ENOENT")) throw error;
  }
  mkdirSync(path, { mode: 0o750 });
  const made = open();
  if (fstatSync(made).isDirectory()) chmodSync(`/proc/self/fd/${made}`, fstatSync(folder).mode & 0o7777);
  return made;
}

const names = (path: string): string[] => path.split("/").filter((name) => name !== "" && name !== ".");
