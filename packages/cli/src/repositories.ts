/** What `kws link` and `kws repo` share: git's settings, kws.local.yaml that git is to ignore, and how places are shown. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { exec } from "@kws/base/exec";
import { writeLinks } from "@kws/platform/project/links";
import { localFileName } from "@kws/platform/project/local";
import { gitEnv, safe } from "@kws/platform/project/git";
import type { Project } from "@kws/platform/project/workspace";
import type { Context } from "./context.ts";

/** How many repositories are asked at once. */
export const repositoriesAtATime = 8;

export function gitSettings(ctx: Context): { env: NodeJS.ProcessEnv; signal: AbortSignal } {
  return { env: ctx.childEnv, signal: ctx.signal };
}

/** As it is easiest to read from where kws was called. */
export function shortFolder(ctx: Context, dir: string | undefined): string {
  return dir === undefined ? "" : relative(ctx.cwd, dir) || ".";
}

/** Links by the services' names to absolute folders, and offers to let git ignore the file that they are written to. */
export async function saveLinks(
  ctx: Context,
  project: Project,
  folders: Record<string, string>,
): Promise<void> {
  const links = Object.entries(folders).map(([name, dir]) => [name, relative(project.root, dir) || "."]);
  await writeLinks(project, Object.fromEntries(links) as Record<string, string>);
  const settings = { ...gitSettings(ctx), env: gitEnv(ctx.childEnv) };
  const args = ["-C", project.root, "check-ignore", "--quiet", "--", localFileName];
  // 1: in a repository, and not ignored.
  if ((await exec("git", [...safe, ...args], settings)).exitCode !== 1) return;
  const path = join(project.root, ".gitignore");
  const isAllowed = ctx.interactive || ctx.globals.yes === true;
  if (!isAllowed || !(await ctx.confirm(`Add ${localFileName} to ${shortFolder(ctx, path)}?`))) {
    ctx.stderr.write(`${localFileName} is yours alone: add it to .gitignore, so that it is not committed.\n`);
    return;
  }
  const old = existsSync(path) ? await readFile(path, "utf8") : "";
  await replaceFile(path, `${old}${old === "" || old.endsWith("\n") ? "" : "\n"}${localFileName}\n`);
}
