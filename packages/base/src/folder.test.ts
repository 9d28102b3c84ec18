import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFolder } from "./folder.ts";
import { tempDir } from "./tempdir.ts";

test("parents are made too, with the same mode, and what is there is left as it is", async () => {
  await using dir = await tempDir("kws-folder");
  const path = join(dir.path, "a/b/c");
  await makeFolder(path, { mode: 0o700 });
  await makeFolder(path);
  for (const made of [path, join(dir.path, "a")]) expect((await stat(made)).mode & 0o777).toBe(0o700);
});

test("callers that make the same one at the same time all get it", async () => {
  await using dir = await tempDir("kws-folder");
  const path = join(dir.path, "a/b/c");
  await Promise.all(Array.from({ length: 8 }, () => makeFolder(path)));
  expect((await stat(path)).isDirectory()).toBe(true);
});

test("a file in the way is told", async () => {
  await using dir = await tempDir("kws-folder");
  const file = join(dir.path, "file");
  await writeFile(file, "");
  const fix = "Name another.";
  for (const path of [file, join(file, "below"), join(file, "far/below")]) {
    await expect(makeFolder(path, { fix })).rejects.toMatchObject({ code: "config", fix });
  }
});

test.runIf(process.platform === "linux")(
  "a folder below /proc is refused, and not tried for ever",
  async () => {
    await expect(makeFolder("/proc/kws/out")).rejects.toMatchObject({
      code: "config",
      message: "the folder /proc/kws cannot be made: /proc takes no folders",
    });
  },
);
