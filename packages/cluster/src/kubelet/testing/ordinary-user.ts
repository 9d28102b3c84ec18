/**
 * The user as whom tests run what must work without root, where they are run by root. There is none where the repository
 * lies in a folder that is closed to others, such as root's own home: no program in it could be started.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";

export const isRoot = process.getuid?.() === 0;

const nobody = { uid: 65_534, gid: 65_534 };
const mayEnter = 0o001;

export const ordinaryUser = isRoot && isOpen(dirname(process.execPath)) ? nobody : undefined;

function isOpen(folder: string): boolean {
  if ((statSync(folder).mode & mayEnter) === 0) return false;
  return folder === "/" || isOpen(dirname(folder));
}
