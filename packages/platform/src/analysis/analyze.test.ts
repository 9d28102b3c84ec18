import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, expect, test } from "vitest";
import { analyze, chooseChecks } from "./analyze.ts";
import { checks } from "./checks.ts";
import { type Check, ok } from "./finding.ts";
import { subjectIn } from "./testing/subject.ts";

let dir: TempDir;
beforeAll(async () => {
  dir = await tempDir("kws-analyze");
});
afterAll(() => dir[Symbol.asyncDispose]());

const options = { only: [], skip: [], fix: false, now: () => 0 };
const check = (id: string, run: Check["run"], more: Partial<Check> = {}): Check => ({
  id,
  family: "machine",
  about: "",
  run,
  ...more,
});

test("ids are unlike each other and unlike the families", () => {
  const names = [...checks.map(({ id }) => id), "machine", "cluster", "workspace", "service"];
  expect(new Set(names).size).toBe(names.length);
});

test("checks are chosen by id and by family, and a name that is neither is refused with the nearest", () => {
  const chosen = chooseChecks(checks, ["workspace", "disk"], ["git"]).map(({ id }) => id);
  expect(chosen.toSorted()).toEqual(["dependencies", "disk", "ingress-hosts", "schema"]);
  expect(() => chooseChecks(checks, ["dsik"], [])).toThrow(
    expect.objectContaining({ code: "usage", fix: expect.stringContaining("disk") }),
  );
});

test("a check that is late or fails says so, and the others are told all the same", async () => {
  const all = [
    check("late", () => new Promise(() => undefined), { timeoutMs: 1 }),
    check("failing", () => Promise.reject(new UserError("no way", { fix: "Go.", at: "a:1:1" }))),
    check("closed", async () => (await readdir(join(dir.path, "none"))).map(ok)),
    check("good", async () => [{ severity: "ok", message: "fine" }]),
  ];
  const { findings, counts } = await analyze(subjectIn(dir.path), options, all);
  expect(findings.map(({ id, severity, fix, where }) => [id, severity, fix, where])).toEqual([
    ["failing", "error", "Go.", "a:1:1"],
    ["closed", "error", undefined, undefined],
    ["late", "warning", expect.stringContaining("--skip late"), undefined],
    ["good", "ok", undefined, undefined],
  ]);
  expect(counts).toEqual({ error: 2, warning: 1, info: 0, ok: 1 });
});

test("a fault of kws itself is no finding", async () => {
  const all = [check("bug", () => Promise.reject(new TypeError("x")))];
  await expect(analyze(subjectIn(dir.path), options, all)).rejects.toThrow(TypeError);
});

test("fixes are made where they are asked for alone, and one that fails leaves the finding", async () => {
  const made: string[] = [];
  const finding = { severity: "warning", message: "x" } as const;
  const apply = async () => void made.push("good");
  const fails = () => Promise.reject(new Error("full"));
  const all = [
    check("good", async () => [{ ...finding, repair: { done: "made it", apply } }]),
    check("bad", async () => [{ ...finding, repair: { done: "made it", apply: fails } }]),
    check("none", async () => [finding]),
  ];
  const before = await analyze(subjectIn(dir.path), options, all);
  expect(before.findings.map(({ fixable }) => fixable)).toEqual([true, true, false]);
  expect(made).toEqual([]);
  const { findings } = await analyze(subjectIn(dir.path), { ...options, fix: true }, all);
  expect(findings.map(({ message, fixed }) => [message, fixed])).toEqual([
    ["x", "made it"],
    ["x; the fix failed: full", undefined],
    ["x", undefined],
  ]);
});
