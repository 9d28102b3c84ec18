import { existsSync } from "node:fs";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { processName } from "./process.ts";
import { ownedDir, tempDir } from "./tempdir.ts";

test("the folder is private while its scope lasts and gone afterwards", async () => {
  let path = "";
  {
    await using dir = await tempDir("kws-test");
    path = dir.path;
    await writeFile(join(path, "file"), "x");
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  }
  expect(existsSync(path)).toBe(false);
});

test("what a process left that is gone is removed by the next, and nothing else", async () => {
  await using dir = await tempDir("kws-test");
  const parent = join(dir.path, "run");
  const owner = { host: "here", pid: process.pid };
  // The start of a process is part of its name: this one has another.
  const gone = processName("here", process.pid).replace(/\d+$/, "1");
  const folders = [gone, gone.replace("here", "elsewhere"), "somebody's"];
  for (const name of folders)
    await mkdir(join(parent, `${name.replaceAll("/", ",")}-AbC123`), { recursive: true });
  await using first = await ownedDir(parent, owner);
  await using second = await ownedDir(parent, owner);
  const left = (await readdir(parent)).map((name) => join(parent, name)).toSorted();
  const kept = folders.slice(1).map((name) => join(parent, `${name.replaceAll("/", ",")}-AbC123`));
  expect(left).toEqual([first.path, second.path, ...kept].toSorted());
});
