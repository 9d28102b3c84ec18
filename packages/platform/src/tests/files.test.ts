import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { processRemote, type Remote } from "../dev/sync/remote.ts";
import { copyFolder } from "./files.ts";

const here: Remote = {
  name: "this machine",
  open: ([file = "", ...args]) => processRemote(file, args, process.env),
};
const signal = new AbortController().signal;

test("plain files come over, in their folders; links do not", async () => {
  await using dir = await tempDir("kws-files");
  const from = join(dir.path, "from");
  const to = join(dir.path, "to");
  await mkdir(join(from, "deep"), { recursive: true });
  await writeFile(join(from, "deep/report.xml"), "<testsuite/>");
  await writeFile(join(from, "closed"), "text");
  await chmod(join(from, "closed"), 0o200);
  await symlink("/etc/hostname", join(from, "link"));
  expect(await copyFolder(here, from, { to, signal })).toEqual([]);
  expect((await readdir(to)).sort()).toEqual(["closed", "deep"]);
  expect(await readFile(join(to, "deep/report.xml"), "utf8")).toBe("<testsuite/>");
});

test("paths that lead out stay out", async () => {
  await using dir = await tempDir("kws-files");
  await mkdir(join(dir.path, "in"));
  await writeFile(join(dir.path, "evil"), "text");
  const outside: Remote = {
    ...here,
    open: () => processRemote("tar", ["-P", "-cf", "-", "-C", join(dir.path, "in"), "../evil"], process.env),
  };
  const to = join(dir.path, "deep/to");
  await copyFolder(outside, "", { to, signal });
  expect(await readdir(join(dir.path, "deep"))).toEqual(["to"]);
  expect(await readdir(to)).toEqual([]);
});

test("a folder that cannot be read is told, and so is an image without tar", async () => {
  await using dir = await tempDir("kws-files");
  const to = join(dir.path, "to");
  expect(await copyFolder(here, join(dir.path, "none"), { to, signal })).toEqual([
    expect.stringContaining("the reports cannot be copied"),
  ]);
  const none: Remote = {
    ...here,
    open: () => processRemote("sh", ["-c", "echo no tar here >&2; exit 127"], process.env),
  };
  expect(await copyFolder(none, "/", { to, signal })).toEqual(["the reports cannot be copied: no tar here"]);
});
