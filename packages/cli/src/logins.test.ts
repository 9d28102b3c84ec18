import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { addLogin, readLogins, removeLogin } from "./logins.ts";

test("the newest login is the one in use, in a file for its owner alone", async () => {
  await using dir = await tempDir("kws-logins");
  const data = join(dir.path, "data");
  expect(await readLogins(data)).toEqual({ tokens: {} });
  await addLogin(data, "https://a.example.com", "one");
  await addLogin(data, "https://b.example.com", "two");
  expect((await stat(join(data, "logins.json"))).mode & 0o777).toBe(0o600);
  expect(await readLogins(data)).toEqual({
    current: "https://b.example.com",
    tokens: { "https://a.example.com": "one", "https://b.example.com": "two" },
  });
  await removeLogin(data, "https://a.example.com");
  expect((await readLogins(data)).current).toBe("https://b.example.com");
  await removeLogin(data, "https://b.example.com");
  expect(await readLogins(data)).toEqual({ tokens: {} });
  expect(await readFile(join(data, "logins.json"), "utf8")).not.toContain("two");
});

test("a broken file is named, and what it holds is not shown", async () => {
  await using dir = await tempDir("kws-logins");
  await writeFile(join(dir.path, "logins.json"), "kws_a_secret");
  const reading = readLogins(dir.path);
  await expect(reading).rejects.toThrow("logins.json cannot be read: it is not JSON");
});
