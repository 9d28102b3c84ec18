import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { replaceFile, replaceFileSync } from "./atomicfile.ts";
import { tempDir } from "./tempdir.ts";

test("the new content takes the place of the old, with the mode that was asked for", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "file");
  await writeFile(path, "old", { mode: 0o644 });
  await replaceFile(path, "new", { mode: 0o600 });
  expect(await readFile(path, "utf8")).toBe("new");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  replaceFileSync(path, "newer", { mode: 0o666 });
  expect(await readFile(path, "utf8")).toBe("newer");
  // Also where the umask takes bits away from new files.
  expect((await stat(path)).mode & 0o777).toBe(0o666);
  expect(await readdir(dir.path)).toEqual(["file"]);
});

test("a writer that fails in the middle leaves the old content and nothing beside it", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "file");
  await writeFile(path, "old");
  const failing = replaceFile(path, async (temporary) => {
    await writeFile(temporary, "half");
    throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  });
  await expect(failing).rejects.toMatchObject({ code: "ENOSPC" });
  expect(await readFile(path, "utf8")).toBe("old");
  expect(await readdir(dir.path)).toEqual(["file"]);
});

test("readers see the old content until the writer has finished", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "file");
  await writeFile(path, "old");
  await replaceFile(path, async (temporary) => {
    await writeFile(temporary, "new");
    expect(await readFile(path, "utf8")).toBe("old");
  });
  expect(await readFile(path, "utf8")).toBe("new");
});

test("what cannot be put in place is removed again", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "folder");
  await mkdir(path);
  await expect(replaceFile(path, "text")).rejects.toThrow("folder");
  expect(() => replaceFileSync(path, "text")).toThrow("folder");
  expect(await readdir(dir.path)).toEqual(["folder"]);
});

test("many writers at once leave one whole file", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "file");
  const texts = Array.from({ length: 20 }, (_, index) => String(index).repeat(10_000));
  await Promise.all(texts.map((text) => replaceFile(path, text)));
  expect(texts).toContain(await readFile(path, "utf8"));
  expect(await readdir(dir.path)).toEqual(["file"]);
});

test("a folder that is not there is the caller's error", async () => {
  await using dir = await tempDir("kws-test");
  const path = join(dir.path, "missing", "file");
  await expect(replaceFile(path, "text")).rejects.toMatchObject({ code: "ENOENT" });
  expect(existsSync(join(dir.path, "missing"))).toBe(false);
});
