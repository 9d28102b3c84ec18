import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { untilCheckedOut } from "./checkout.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-checkout-"));
  await mkdir(join(dir, "web/src"), { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

const wait = () => untilCheckedOut(join(dir, "web/src"), new AbortController().signal);

test.each(["of a clone", "of a worktree"])(
  "while git holds the index %s, a change is not complete",
  async (what) => {
    const repository = what === "of a clone" ? join(dir, ".git") : join(dir, "elsewhere");
    await mkdir(repository);
    if (what === "of a worktree") await writeFile(join(dir, ".git"), "gitdir: elsewhere\n");
    const lock = join(repository, "index.lock");
    await writeFile(lock, "");
    let done = false;
    const waiting = wait().then(() => {
      done = true;
    });
    await new Promise(setImmediate);
    expect(done).toBe(false);
    await rm(lock);
    await waiting;
    expect(done).toBe(true);
  },
);

test("where git does nothing, nothing is waited for", async () => {
  await mkdir(join(dir, ".git"));
  await expect(wait()).resolves.toBeUndefined();
});
