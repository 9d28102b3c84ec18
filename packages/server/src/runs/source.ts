/** A commit of a repository as files, from the server's mirror. */
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, run } from "@kws/base/exec";
import { ownedDir } from "@kws/base/tempdir";
import { gitEnv, safe } from "@kws/platform/project/git";
import { openServices } from "@kws/platform/project/services";
import {
  fileName,
  hasSource,
  loadProject,
  type Project,
  type ProjectService,
  type StackService,
} from "@kws/platform/project/workspace";
import type { ServerContext } from "../context.ts";
import { fetchMirror, mirrorFolder } from "../repositories/mirror.ts";

export interface SourceRepository {
  id: string;
  name: string;
  url: string;
  branch: string;
}

export interface Revision {
  branch?: string | undefined;
  tag?: string | undefined;
  /** The newest of the branch or tag unless given. */
  commit?: string | undefined;
}

type Settings = Pick<ServerContext, "cache" | "env" | "signal">;

function gitIn(folder: string, { env, signal }: Settings) {
  const settings = { env: gitEnv(env), signal };
  return (...args: string[]) => exec("git", [...safe, "-C", folder, ...args], settings);
}

/** Fetches, and finds the commit's full name. */
export async function resolveCommit(
  repository: SourceRepository,
  { branch, tag, commit }: Revision,
  ctx: Settings,
): Promise<string> {
  const newest = await fetchMirror({ ...repository, branch: branch ?? repository.branch }, ctx);
  const name = commit ?? (tag === undefined ? newest : `refs/tags/${tag}`);
  const found = await gitIn(mirrorFolder(ctx.cache, repository.id), ctx)(
    "rev-parse",
    "--verify",
    "--quiet",
    "--end-of-options",
    `${name}^{commit}`,
  );
  if (found.exitCode === 0) return found.stdout.trim();
  throw new UserError(
    `${repository.name} has no ${commit === undefined ? `tag "${tag}"` : `commit ${commit}`}`,
    {
      code: "not-found",
      fix: "Push it, and try again.",
    },
  );
}

/** Makes the folder with the commit's files, unless it is there. The last part of its name is the repository's. */
export async function checkOut(
  repository: SourceRepository,
  commit: string,
  folder: string,
  ctx: Settings,
): Promise<void> {
  if (existsSync(folder)) return;
  const mirror = mirrorFolder(ctx.cache, repository.id);
  if (!existsSync(mirror)) await fetchMirror(repository, ctx);
  await using work = await ownedDir(join(ctx.cache, "runs", "work"), { host: hostname(), pid: process.pid });
  const clone = join(work.path, "clone");
  const settings = { env: gitEnv(ctx.env), signal: ctx.signal };
  await run("git", [...safe, "clone", "--quiet", "--shared", "--no-checkout", "--", mirror, clone], settings);
  const git = (...args: string[]) => run("git", [...safe, "-C", clone, ...args], settings);
  await git("checkout", "--quiet", "--detach", commit);
  // What packages say of where they come from; without a password that is in it.
  await git("config", "remote.origin.url", repository.url.replaceAll(/:\/\/[^/@\s]+@/g, "://"));
  await mkdir(dirname(folder), { recursive: true });
  await rename(clone, folder);
}

/** Paths below the service's folder that differ; undefined where the earlier commit is no longer there. */
export async function changedPaths(
  dir: string,
  before: string,
  commit: string,
  ctx: Settings,
): Promise<string[] | undefined> {
  const diff = await gitIn(dir, ctx)("diff", "--name-only", "--relative", "-z", before, commit, "--", ".");
  if (diff.exitCode !== 0) return undefined;
  return diff.stdout.split("\0").filter((path) => path !== "");
}

export interface Source {
  project: Project;
  /** All of the workspace. */
  services: StackService[];
  /** Those that the repository itself holds. */
  own: ProjectService[];
}

export async function openSource(folder: string, { cache, env, signal }: Settings): Promise<Source> {
  const path = join(folder, fileName);
  if (!existsSync(path)) {
    throw new UserError(`the repository has no ${fileName} at its root`, {
      code: "config",
      fix: "Make one with `kws init`, and commit it.",
    });
  }
  const project = await loadProject(path);
  const services = await openServices(project, { cache, env, signal, history: true }).all();
  const own = services.filter(hasSource).filter(({ dir }) => dir === folder || dir.startsWith(`${folder}/`));
  return { project, services, own };
}
