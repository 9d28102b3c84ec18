import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "@kws/base/tempdir";
import { ignoreRules } from "./ignore.ts";

const paths = [
  ".git/",
  "node_modules/",
  "a/node_modules/",
  "dist/",
  "a/dist/",
  "a.pyc",
  "src/",
  "src/a.js",
  "b.kws-conflict",
];

async function leftOut(files: Record<string, string>, patterns: string[] = []): Promise<string[]> {
  await using folder = await tempDir("kws-ignore");
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
  const rules = await ignoreRules(folder.path, patterns);
  return paths.filter((path) => rules.ignores(path.replace(/\/$/, ""), path.endsWith("/")));
}

test("repositories, dependencies and build output are left out", async () => {
  const defaults = [".git/", "node_modules/", "a/node_modules/", "dist/", "a.pyc", "b.kws-conflict"];
  expect(await leftOut({})).toEqual(defaults);
  expect(await leftOut({ ".gitignore": "src" })).toEqual(defaults);
});

test("later patterns win: .kwsignore instead of .dockerignore, and kws.yaml's own", async () => {
  const files = { ".dockerignore": "src", ".kwsignore": "*.js\n!dist\n" };
  expect(await leftOut(files)).toEqual([
    ".git/",
    "node_modules/",
    "a/node_modules/",
    "a.pyc",
    "src/a.js",
    "b.kws-conflict",
  ]);
  expect(await leftOut(files, ["!*.js", "!node_modules"])).toEqual([".git/", "a.pyc", "b.kws-conflict"]);
});

test(".dockerignore begins at the root and brings back what is in folders that are left out", async () => {
  expect(await leftOut({ ".dockerignore": "# all\n*\n!src/**\n" })).not.toContain("src/a.js");
  expect(await leftOut({ ".dockerignore": "*\n!src/**\n" })).toContain("dist/");
  expect(await leftOut({ ".dockerignore": "a.js\n" })).not.toContain("src/a.js");
  expect(await leftOut({ ".dockerignore": "**/a.js\n" })).toContain("src/a.js");
});

test("names that are left out everywhere are known to the far side, unless an exception may be about them", async () => {
  await using folder = await tempDir("kws-ignore");
  const everywhere = async (patterns: string[]) => (await ignoreRules(folder.path, patterns)).everywhere;
  expect(await everywhere([])).toEqual(expect.arrayContaining([".git", "node_modules", "*.pyc"]));
  const excepted = await everywhere(["!app/node_modules", "it's", "*.tmp"]);
  expect(excepted).toEqual(expect.arrayContaining([".git", "*.tmp"]));
  expect(excepted).not.toContain("node_modules");
  expect(excepted).not.toContain("it's");
});
