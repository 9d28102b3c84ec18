/** The programs of macOS are stood in for by scripts that write down their arguments. */
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openMemoryFolder } from "./memory-folder.ts";

let dir: TempDir;
let env: NodeJS.ProcessEnv;
beforeEach(async () => {
  dir = await tempDir("kws-memory");
  await mkdir(join(dir.path, "bin"));
  env = { PATH: `${join(dir.path, "bin")}${delimiter}${process.env["PATH"]}` };
  for (const name of ["hdiutil", "newfs_hfs", "mount"]) await program(name, "");
  await program("hdiutil", '[ "$1" = detach ] || echo "/dev/disk7   "');
});
afterEach(() => dir[Symbol.asyncDispose]());

async function program(name: string, script: string): Promise<void> {
  const path = join(dir.path, "bin", name);
  await writeFile(path, `#!/bin/sh\necho "$(basename "$0") $*" >> ${dir.path}/calls\n${script}\n`);
  await chmod(path, 0o755);
}
const calls = async () => (await readFile(join(dir.path, "calls"), "utf8")).trimEnd().split("\n");
const open = (platform: NodeJS.Platform) =>
  openMemoryFolder({ env, platform, uid: process.getuid?.(), signal: new AbortController().signal });

test("on macOS a disk in memory is made for the folder, and detached with it", async () => {
  const folder = await open("darwin");
  const made = [
    "hdiutil attach -nomount ram://131072",
    "newfs_hfs -M 700 /dev/disk7",
    `mount -t hfs -o nobrowse,noatime /dev/disk7 ${folder.path}`,
  ];
  expect(await calls()).toEqual(made);
  await folder[Symbol.asyncDispose]();
  expect(await calls()).toEqual([...made, "hdiutil detach -force /dev/disk7"]);
  expect(existsSync(folder.path)).toBe(false);
});

test("a disk that cannot be mounted is detached, and no other folder is used", async () => {
  await program("mount", "exit 1");
  await expect(open("darwin")).rejects.toMatchObject({ reason: "couldNotWriteOutputFile" });
  expect((await calls()).at(-1)).toBe("hdiutil detach -force /dev/disk7");
});

test.runIf(process.platform === "linux")("on Linux the folder is private, and on a tmpfs", async () => {
  const folder = await open("linux");
  expect(folder.path).toMatch(/^\/(dev\/shm|run\/user\/\d+)\/kws-edit-/);
  await writeFile(join(folder.path, "x"), "");
  await folder[Symbol.asyncDispose]();
  expect(existsSync(folder.path)).toBe(false);
});
