import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { readConfig, variableOf } from "./config.ts";

test("nothing has to be told", async () => {
  expect(await readConfig({})).toMatchObject({
    host: "127.0.0.1",
    maxBodyBytes: 1_048_576,
    logLevel: "info",
  });
});

test("variables win over the file", async () => {
  await using dir = await tempDir("kws-config");
  const path = join(dir.path, "server.yaml");
  await writeFile(path, "port: 4000\nmaxStreams: 3\n");
  const config = await readConfig({ KWS_SERVER_CONFIG: path, KWS_SERVER_PORT: "5000" });
  expect(config).toMatchObject({ port: 5000, maxStreams: 3 });
  expect(variableOf("maxStreams")).toBe("KWS_SERVER_MAX_STREAMS");
});

test("an error names the variable, and does not repeat its value", async () => {
  const url = readConfig({ DATABASE_URL: "mysql://user:hunter2@host/db" });
  await expect(url).rejects.toThrow(/^DATABASE_URL /);
  await expect(url).rejects.not.toThrow("hunter2");
  await expect(readConfig({ KWS_SERVER_PORT: "many" })).rejects.toThrow(/^KWS_SERVER_PORT /);
});

test("a key that is not known is refused by name", async () => {
  await using dir = await tempDir("kws-config");
  const path = join(dir.path, "server.yaml");
  await writeFile(path, "prot: 4000\n");
  await expect(readConfig({ KWS_SERVER_CONFIG: path })).rejects.toThrow(`${path}: prot`);
});
