/**
 * Copies of folders with all that belongs to a file: owner, mode, times, links, holes, extended attributes. Where the file system
 * shares blocks between files, a copy costs neither time nor room.
 */
import { UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import { systemPath } from "../kubelet/runtimes/sandbox/tools.ts";

/**
 * Runs a program of the system that may read whatever containers wrote. Answers its standard output; a full disk is told as
 * that.
 */
export async function runOnFiles(
  program: string,
  args: string[],
  signal?: AbortSignal,
  cwd?: string,
): Promise<string> {
  const [file, ...words] = asRootOfFiles([program, ...args]);
  const { exitCode, stdout, stderr } = await exec(file, words, {
    env: { PATH: systemPath, LC_ALL: "C" },
    ...(cwd === undefined ? {} : { cwd }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (exitCode === 0) return stdout;
  if (/No space left on device|Disk quota exceeded/.test(stderr)) throw diskFull(stderr);
  throw new UserError(`${program} failed: ${stderr.trim().split("\n").slice(0, 3).join("; ")}`);
}

/**
 * A command that reads what a container's root wrote and nobody is allowed to read: an ordinary user has to be that root for the
 * moment.
 */
export function asRootOfFiles(command: [string, ...string[]]): [string, ...string[]] {
  return process.getuid?.() === 0 ? command : ["unshare", "--user", "--map-root-user", ...command];
}

export function diskFull(cause: unknown): UserError {
  return new UserError("the disk is full, and nothing was changed", {
    fix: "Make room, for instance with `kws cluster snapshot remove NAME`, and try again.",
    cause,
  });
}

/** Copies what lies at relative paths below one folder to the same paths below another, with the folders on the way. */
export async function copyPaths(
  { from, paths, to }: { from: string; paths: string[]; to: string },
  signal?: AbortSignal,
): Promise<void> {
  // One call for many, and not so many that the arguments become too long.
  for (let at = 0; at < paths.length; at += 200) {
    const options = ["--archive", "--reflink=auto", "--parents", "--target-directory", to];
    await runOnFiles("cp", [...options, "--", ...paths.slice(at, at + 200)], signal, from);
  }
}

/** Bytes on disk. */
export async function sizeOnDisk(folders: string[], signal?: AbortSignal): Promise<number> {
  if (folders.length === 0) return 0;
  const output = await runOnFiles(
    "du",
    ["--total", "--summarize", "--block-size=1", "--", ...folders],
    signal,
  );
  return Number.parseInt(output.trimEnd().split("\n").at(-1) ?? "0", 10);
}

/** Resolves when all that was written to the folder's file system would survive a loss of power. */
export async function settleOnDisk(folder: string): Promise<void> {
  await runOnFiles("sync", ["--file-system", folder]);
}
