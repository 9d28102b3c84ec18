/** Writes what editors need to attach to a service's debugger. */
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import type { Attachment } from "./attachment.ts";
import { runConfiguration } from "./jetbrains.ts";
import { withLaunch } from "./vscode.ts";

export const editors = ["vscode", "jetbrains", "none"] as const;
export type Editor = (typeof editors)[number];

export interface EditorFolders {
  workspace: string;
  service: string;
}

/** The files that were written; those that say the same already are left alone. */
export async function writeEditors(
  chosen: Editor | undefined,
  folders: EditorFolders,
  attachment: Omit<Attachment, "folder">,
): Promise<string[]> {
  const root = rootOf(folders);
  const place = { ...attachment, folder: relative(root, folders.service).split(sep).join("/") || "." };
  const wanted = chosen === undefined ? editorsOf(root) : [chosen];
  const written: string[] = [];
  if (wanted.includes("vscode")) {
    const path = join(root, ".vscode/launch.json");
    const before = await read(path);
    if (await write(path, before, withLaunch(before, place, path))) written.push(path);
  }
  const content = wanted.includes("jetbrains") ? runConfiguration(place) : undefined;
  if (content !== undefined) {
    const path = join(root, `.run/kws-${attachment.service}.run.xml`);
    if (await write(path, await read(path), content)) written.push(path);
  }
  return written;
}

/** What people open: the workspace, unless the service is a repository elsewhere. */
function rootOf({ workspace, service }: EditorFolders): string {
  const below = relative(workspace, service);
  return below.startsWith("..") ? service : workspace;
}

function editorsOf(root: string): Editor[] {
  const jetbrains = existsSync(join(root, ".idea"));
  const vscode = !jetbrains || existsSync(join(root, ".vscode"));
  return [...(vscode ? (["vscode"] as const) : []), ...(jetbrains ? (["jetbrains"] as const) : [])];
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function write(path: string, before: string | undefined, content: string): Promise<boolean> {
  if (content === before) return false;
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, content);
  return true;
}
