import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openBelow, resolveSubPath } from "./subpath.ts";

let dir: string;
let volume: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "subpath-"));
  volume = join(dir, "volume");
  mkdirSync(volume);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("a subPath is made when missing, with the mode of its parent, and refused when a link leads out of the volume", () => {
  mkdirSync(join(volume, "a"), { mode: 0o751 });
  expect(resolveSubPath(volume, "a/b/./c")).toBe(join(volume, "a/b/c"));
  expect(statSync(join(volume, "a/b/c")).mode & 0o777).toBe(0o751);
  symlinkSync("/etc", join(volume, "out"));
  expect(() => resolveSubPath(volume, "out/passwd")).toThrow("leads out of the volume");
  expect(() => resolveSubPath(volume, "a/../../x")).toThrow("must not contain");
});

test("a link inside the volume is followed", () => {
  mkdirSync(join(volume, "v1"));
  symlinkSync("v1", join(volume, "current"));
  expect(resolveSubPath(volume, "current/data")).toBe(join(volume, "v1/data"));
});

test("a folder that became a link since it was resolved is refused, and an open one stays where it was", () => {
  const path = resolveSubPath(volume, "a/b");
  const fd = openBelow(volume, path, "refuse");
  renameSync(join(volume, "a"), join(volume, "old"));
  symlinkSync("..", join(volume, "a"));
  expect(readlinkSync(`/proc/self/fd/${fd}`)).toBe(join(volume, "old/b"));
  closeSync(fd);
  expect(() => openBelow(volume, path, "refuse")).toThrow("became a symbolic link");
  expect(() => openBelow(volume, dir, "refuse")).toThrow("lies outside");
});
