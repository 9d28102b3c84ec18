import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ContainerLog, rotatedPath } from "./log.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "kws-log-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const entries = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => line.slice(line.indexOf(" ") + 1));

test("lines that arrive in pieces are put together per stream", () => {
  const path = join(folder, "deep", "0.log");
  const log = new ContainerLog(path);
  log.write("stdout", Buffer.from("on"));
  log.write("stderr", Buffer.from("bad\n"));
  log.write("stdout", Buffer.from("e\n\ntw"));
  log.close();
  expect(entries(path)).toEqual(["stderr F bad", "stdout F one", "stdout F ", "stdout P tw"]);
});

test("a line longer than 16 KiB comes in parts that add up", () => {
  const path = join(folder, "0.log");
  const log = new ContainerLog(path);
  log.write("stdout", Buffer.from(`${"x".repeat(40_000)}\n`));
  log.close();
  expect(entries(path).map((entry) => entry.slice(0, 9))).toEqual(["stdout P ", "stdout P ", "stdout F "]);
  expect(entries(path).reduce((sum, entry) => sum + entry.length - 9, 0)).toBe(40_000);
});

test("a full log is moved aside once, and nothing between is lost", () => {
  const path = join(folder, "0.log");
  const log = new ContainerLog(path, 1000);
  for (let i = 0; i < 30; i++) log.write("stdout", Buffer.from(`${i}\n`));
  log.close();
  const all = [...entries(rotatedPath(path)), ...entries(path)];
  expect(all).toEqual(Array.from({ length: 30 }, (_, i) => `stdout F ${i}`));
});
