import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { embeddedProvider } from "./embedded.ts";

test("a home that cannot be a folder is told with the variable that chooses another", async () => {
  await using dir = await tempDir("kws-test");
  const file = join(dir.path, "file");
  await writeFile(file, "");
  for (const home of [file, join(file, "below")]) {
    await expect(embeddedProvider({ name: "one", home, env: {} }).start({})).rejects.toMatchObject({
      code: "config",
      message: expect.stringContaining(home),
      fix: expect.stringContaining("KWS_HOME"),
    });
  }
});
