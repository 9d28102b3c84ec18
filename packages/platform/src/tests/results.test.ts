import { mkdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { contentKey, exportResults, ResultStore, type TestResult } from "./results.ts";

const result: TestResult = {
  service: "orders",
  level: "unit",
  outcome: "passed",
  cached: false,
  ranAt: "2026-01-02T03:04:05Z",
  durationMs: 1200,
  exitCode: 0,
  failures: [],
  lastLines: [],
  notes: [],
};

async function keep(store: ResultStore, key: string, output: string, one = result): Promise<TestResult> {
  await using work = await store.workFolder();
  await writeFile(join(work.path, "output.log"), output);
  return await store.keep(key, one, work.path);
}

test("a result is found by the content that it is of, with its files, and a newer one takes its place", async () => {
  await using dir = await tempDir("kws-results");
  const store = new ResultStore(dir.path);
  const key = contentKey({ image: "a" });
  expect(await store.find(key)).toBeUndefined();
  await keep(store, key, "first");
  const { folder = "" } = await keep(store, key, "second");
  expect(await store.find(key)).toEqual({ ...result, cached: true, folder });
  expect(await store.find(contentKey({ image: "b" }))).toBeUndefined();
  expect(await readFile(join(folder, "output.log"), "utf8")).toBe("second");
});

test("one that was cut short counts as none", async () => {
  await using dir = await tempDir("kws-results");
  await mkdir(join(dir.path, "tests/k"), { recursive: true });
  await writeFile(join(dir.path, "tests/k/result.json"), '{"service":');
  expect(await new ResultStore(dir.path).find("k")).toBeUndefined();
});

test("what was not used for a month is removed when something is kept", async () => {
  await using dir = await tempDir("kws-results");
  const store = new ResultStore(dir.path);
  const { folder = "" } = await keep(store, "old", "");
  await utimes(folder, new Date(0), new Date(0));
  await keep(store, "new", "");
  expect(await store.find("old")).toBeUndefined();
  expect(await store.find("new")).toBeDefined();
});

test("outputs and reports are copied by service and level", async () => {
  await using dir = await tempDir("kws-results");
  const kept = await keep(new ResultStore(dir.path), "k", "said");
  const to = join(dir.path, "out");
  await exportResults([kept, { ...result, service: "none" }], to);
  expect(await readFile(join(to, "orders/unit/output.log"), "utf8")).toBe("said");
});
