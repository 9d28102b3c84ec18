import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cloneStatus, describeClone, distanceTo, makeClone, pullClone } from "./clone.ts";

const settings = { env: { PATH: process.env["PATH"], HOME: "/nonexistent" } };
let dir: TempDir;
let origin: string;
let clone: string;
beforeEach(async () => {
  dir = await tempDir("kws-clone");
  origin = join(dir.path, "origin");
  clone = join(dir.path, "clone");
  await run("git", ["init", "--quiet", "--initial-branch=main", origin], settings);
  await commit(origin, "one");
  await git(origin, "tag", "v1");
  await makeClone({ url: origin, ref: "v1" }, clone, settings);
});
afterEach(() => dir[Symbol.asyncDispose]());

async function git(where: string, ...args: string[]): Promise<void> {
  const who = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
  await run("git", ["-C", where, ...who, ...args], settings);
}

async function commit(where: string, name: string): Promise<void> {
  await writeFile(join(where, name), "");
  await git(where, "add", "--all");
  await git(where, "commit", "--quiet", "--message", name);
}

test("a clone for a tag is on the repository's own branch, and says how far that is from the tag", async () => {
  await commit(clone, "mine");
  await writeFile(join(clone, "untracked"), "");
  const { branch, upstream, changes } = await cloneStatus(clone, settings);
  expect({ branch, upstream, changes }).toEqual({
    branch: "main",
    upstream: { name: "origin/main", ahead: 1, behind: 0 },
    changes: 1,
  });
  expect(await distanceTo(clone, "v1", settings)).toEqual({ ahead: 1, behind: 0 });
  expect(await distanceTo(clone, "v9", settings)).toBeUndefined();
  expect(await describeClone(clone, "v1", settings)).toBe("main, 1 ahead of v1, 1 uncommitted");
  expect(await describeClone(clone, "v9", settings)).toBe("main, without v9, 1 uncommitted");
  expect(await describeClone(dir.path, "v1", settings)).toBe("");
});

test("a clone that only lags behind is forwarded", async () => {
  expect(await pullClone(clone, settings)).toEqual({ outcome: "current", note: "" });
  await commit(origin, "two");
  expect(await pullClone(clone, settings)).toMatchObject({ outcome: "updated" });
  expect(existsSync(join(clone, "two"))).toBe(true);
});

test.each([
  ["uncommitted changes", () => writeFile(join(clone, "one"), "changed"), /uncommitted changes/],
  ["a branch that diverged", () => commit(clone, "mine"), /diverged/],
  ["a branch without upstream", () => git(clone, "switch", "--quiet", "--create", "own"), /has no upstream/],
  ["no branch", () => git(clone, "switch", "--quiet", "--detach"), /no branch/],
])("a clone with %s is left as it is", async (_case, change, note) => {
  await commit(origin, "two");
  await change();
  const { commit: before } = await cloneStatus(clone, settings);
  expect(await pullClone(clone, settings)).toEqual({ outcome: "left", note: expect.stringMatching(note) });
  expect((await cloneStatus(clone, settings)).commit).toBe(before);
});

test("a remote that does not answer fails alone", async () => {
  await git(clone, "remote", "set-url", "origin", join(dir.path, "gone"));
  expect(await pullClone(clone, settings)).toMatchObject({ outcome: "failed" });
});
