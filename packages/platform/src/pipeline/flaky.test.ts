import { expect, test } from "vitest";
import { flakyTests, isQuarantined, type TestRecord } from "./flaky.ts";

const record = (
  test: string,
  content: string,
  outcome: TestRecord["outcome"],
  at = "2026-01-01T00:00:00Z",
) => ({
  test,
  content,
  outcome,
  at,
});

test("a test is flaky where the same content passed and failed", () => {
  expect(
    flakyTests([
      record("a: one", "x", "failed", "2026-01-03T00:00:00Z"),
      record("a: one", "x", "passed"),
      record("a: one", "y", "passed"),
      record("a: one", "z", "failed"),
      record("a: one", "z", "passed"),
      record("a: one", "z", "passed"),
      record("a: two", "x", "failed"),
      record("a: two", "x", "passed"),
    ]),
  ).toEqual([
    { test: "a: two", failed: 1, runs: 2, lastFailed: "2026-01-01T00:00:00Z" },
    { test: "a: one", failed: 2, runs: 5, lastFailed: "2026-01-03T00:00:00Z" },
  ]);
});

test("a test that fails since a change is broken, and not flaky", () => {
  expect(
    flakyTests([record("a", "x", "passed"), record("a", "y", "failed"), record("a", "y", "failed")]),
  ).toEqual([]);
});

test("quarantine names tests, also by patterns", () => {
  expect(isQuarantined("cart: adds", ["cart: adds"])).toBe(true);
  expect(isQuarantined("cart: GET /items works", ["cart: *"])).toBe(true);
  expect(isQuarantined("order: adds", ["cart: *"])).toBe(false);
  expect(isQuarantined("cart: [x]", ["cart: [x]"])).toBe(true);
});
