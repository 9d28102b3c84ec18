import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "./tempdir.ts";

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
