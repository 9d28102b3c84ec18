import { lstat, mkdtemp, readFile, readdir, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeAtomically, type ProjectedFile } from "./atomic.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "volumes-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const files = (entries: Record<string, string>): Map<string, ProjectedFile> =>
  new Map(Object.entries(entries).map(([path, text]) => [path, { data: Buffer.from(text), mode: 0o640 }]));

test("an update swaps all files at once behind ..data and leaves no old generation", async () => {
  expect(await writeAtomically(dir, files({ a: "1", "sub/b": "2" }))).toBe(true);
  const generation = await readlink(join(dir, "..data"));
  expect(await writeAtomically(dir, files({ a: "1", "sub/b": "2" }))).toBe(false);
  expect(await writeAtomically(dir, files({ a: "3", c: "4" }))).toBe(true);
  expect(await readFile(join(dir, "a"), "utf8")).toBe("3");
  expect((await lstat(join(dir, "..data", "a"))).mode & 0o777).toBe(0o640);
  const names = await readdir(dir);
  expect(names.toSorted()).toEqual(["..data", await readlink(join(dir, "..data")), "a", "c"].toSorted());
  expect(names).not.toContain(generation);
});

test("files may not leave their volume", async () => {
  await expect(writeAtomically(dir, files({ "../x": "1" }))).rejects.toThrow("must not contain");
});
