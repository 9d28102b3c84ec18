import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "@kws/base/tempdir";
import { watchFolder } from "./watch.ts";

test("batches name what was made, changed and removed, and nothing that is left out", async () => {
  await using folder = await tempDir("kws-watch");
  const at = (path: string): string => join(folder.path, path);
  mkdirSync(at("src/old/deep"), { recursive: true });
  mkdirSync(at("node_modules"));
  writeFileSync(at("src/old/deep/a.js"), "1");
  writeFileSync(at("src/b.js"), "1");
  const batches: string[][] = [];
  const watcher = await watchFolder({
    root: folder.path,
    ignore: ["*.log"],
    onBatch: (paths) => batches.push(paths),
    onError: (error) => expect.fail(error.message),
  });
  expect([...watcher.tree.keys()].sort()).toEqual([
    "src",
    "src/b.js",
    "src/old",
    "src/old/deep",
    "src/old/deep/a.js",
  ]);
  const changes: [() => void, string[]][] = [
    [() => writeFileSync(at("src/b.js"), "22"), ["src/b.js"]],
    [() => utimesSync(at("src/old"), 0, 0), []],
    [() => writeFileSync(at("node_modules/x"), ""), []],
    [() => writeFileSync(at("src/x.log"), ""), []],
    [
      () => renameSync(at("src/old"), at("src/new")),
      ["src/new", "src/new/deep", "src/new/deep/a.js", "src/old", "src/old/deep", "src/old/deep/a.js"],
    ],
    [() => writeFileSync(at("src/new/deep/a.js"), "22"), ["src/new/deep/a.js"]],
    [
      () => {
        // The same name, and perhaps the same inode.
        rmSync(at("src/new/deep"), { recursive: true });
        mkdirSync(at("src/new/deep"));
      },
      ["src/new/deep/a.js"],
    ],
    [() => writeFileSync(at("src/new/deep/c.js"), ""), ["src/new/deep/c.js"]],
    [
      () => {
        writeFileSync(at("src/.b.js.tmp"), "333");
        renameSync(at("src/.b.js.tmp"), at("src/b.js"));
      },
      ["src/b.js"],
    ],
  ];
  for (const [change, expected] of changes) {
    batches.length = 0;
    change();
    await watcher.flush();
    expect(batches.flat()).toEqual(expected);
  }
  watcher.close();
  writeFileSync(at("src/b.js"), "4444");
  await watcher.flush();
  expect(batches.flat()).toEqual(["src/b.js"]);
  expect(existsSync(at("src/b.js"))).toBe(true);
});

test("a folder that is not there is told", async () => {
  await using folder = await tempDir("kws-watch");
  const nothing = { root: join(folder.path, "missing"), onBatch() {}, onError() {} };
  await expect(watchFolder(nothing)).rejects.toMatchObject({ code: "not-found" });
});
