/**
 * A private folder that never reaches a disk and goes away whatever happens to this process: on a tmpfs, or on macOS, which has
 * none, on a disk in memory.
 */
import { spawn } from "node:child_process";
import { rm, statfs } from "node:fs/promises";
import { isErrno } from "@kws/base/errors";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { SopsError } from "@kws/sops/errors";
import { attachRamDisk, mountRamDisk } from "./ram-disk.ts";

export interface MemoryFolderOptions {
  /** Names the runtime folder and where programs are. */
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  /** Undefined where users have no numbers. */
  uid: number | undefined;
  signal: AbortSignal;
}

export async function openMemoryFolder(options: MemoryFolderOptions): Promise<TempDir> {
  return options.platform === "darwin" ? onRamDisk(options) : onTmpfs(options);
}

/** `statfs` of tmpfs and ramfs, from Linux' `magic.h`. */
const inMemory = new Set([0x01021994, 0x858458f6]);

async function onTmpfs({ env, uid }: MemoryFolderOptions): Promise<TempDir> {
  for (const parent of [env["XDG_RUNTIME_DIR"] ?? "", "/dev/shm", `/run/user/${uid}`]) {
    try {
      if (parent === "" || !inMemory.has((await statfs(parent)).type)) continue;
      const { path } = await tempDir("kws-edit", parent);
      return removedAtDeath(path, 'rm -rf -- "$1"', [path], env);
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EROFS")) throw error;
    }
  }
  throw new SopsError(
    "couldNotWriteOutputFile",
    "there is no folder in memory, and the text must not reach a disk",
    {
      fix: "Name a tmpfs of yours with XDG_RUNTIME_DIR, or change single values with `kws secrets set`.",
    },
  );
}

async function onRamDisk({ env, signal }: MemoryFolderOptions): Promise<TempDir> {
  const device = await attachRamDisk({ env, signal });
  const { path } = await tempDir("kws-edit");
  const folder = removedAtDeath(path, 'hdiutil detach -force "$2"; rm -rf -- "$1"', [path, device], env);
  try {
    await mountRamDisk(device, path, { env, signal });
    return folder;
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

/** A process that waits for the end of this one, however it ends, and runs a script of the shell then; disposal has it begin. */
function removedAtDeath(path: string, script: string, args: string[], env: NodeJS.ProcessEnv): TempDir {
  const watcher = spawn("sh", ["-c", `cat >/dev/null; ${script}`, "sh", ...args], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    env,
  });
  const ended = new Promise<void>((resolve) => {
    watcher.on("error", () => resolve());
    watcher.on("close", () => resolve());
  });
  watcher.unref();
  return {
    path,
    async [Symbol.asyncDispose]() {
      watcher.ref();
      watcher.stdin.end();
      await ended;
      // Where there is no shell.
      await rm(path, { recursive: true, force: true });
    },
  };
}
