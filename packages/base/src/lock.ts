/**
 * A lock between processes: a file that holds its owner's process id and is made by an atomic hard link. It is held for
 * milliseconds, around a read and a rename; one left by a process that died is taken over.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { isErrno } from "./errors.ts";

/** Younger locks are trusted without asking whether their owner lives, since it may be in another PID namespace. */
const staleAfterMs = 5_000;

/** Runs the function while no other process (or other caller in this one) holds the lock at the path. */
export async function withLock<T>(path: string, run: () => Promise<T>, timeoutMs = 30_000): Promise<T> {
  const mine = `${path}.${randomUUID()}`;
  await writeFile(mine, String(process.pid));
  try {
    const deadline = performance.now() + timeoutMs;
    while (!(await tryLink(mine, path))) {
      if (performance.now() > deadline) {
        throw new Error(`the lock ${path} was not free within ${timeoutMs} ms`);
      }
      await removeStale(path);
      await delay(2 + Math.random() * 8);
    }
  } finally {
    await rm(mine, { force: true });
  }
  try {
    return await run();
  } finally {
    await rm(path, { force: true });
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
}

async function removeStale(path: string): Promise<void> {
  try {
    const [owner, { mtimeMs, ino }] = [await readFile(path, "utf8"), await stat(path)];
    if (Date.now() - mtimeMs < staleAfterMs || alive(Number(owner))) return;
    // Renaming takes it from any rival that saw the same stale lock; a live one caught by mistake goes back.
    const taken = `${path}.${randomUUID()}`;
    await rename(path, taken);
    if ((await stat(taken)).ino !== ino) await tryLink(taken, path);
    await rm(taken, { force: true });
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, "ESRCH");
  }
}
