import { describe, expect, test } from "vitest";
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  isQuantity,
  parseQuantity,
  subtractQuantities,
  toQuantity,
} from "./quantity.ts";

describe("the canonical form", () => {
  test.each([
    ["0.5", "500m"],
    ["1000m", "1"],
    ["1024Mi", "1Gi"],
    ["1.5Gi", "1536Mi"],
    ["512", "512"],
    ["1000", "1k"],
    ["1000Ki", "1000Ki"],
    ["0.5Ki", "512"],
    ["1e3", "1e3"],
    ["1E3", "1e3"],
    ["1E", "1E"],
    ["100000", "100k"],
    ["0Mi", "0"],
    ["-1500m", "-1500m"],
    [".5", "500m"],
    ["1.", "1"],
    ["9223372036854775807", "9223372036854775807"],
    ["0.0000000001", "1n"],
  ])("of %s is %s", (text, canonical) => {
    expect(canonicalQuantity(text)).toBe(canonical);
  });
});

test("parses to base units", () => {
  expect(parseQuantity("250m")).toBe(0.25);
  expect(parseQuantity("1Gi")).toBe(2 ** 30);
  expect(parseQuantity("2e3")).toBe(2000);
  expect(parseQuantity(3)).toBe(3);
});

test("refuses what is not a quantity", () => {
  for (const text of ["", "abc", "1 Gi", "1gi", "--1", "1.2.3", "."]) {
    expect(isQuantity(text)).toBe(false);
    expect(() => toQuantity(text)).toThrow("quantities must match");
  }
});

test("adds, subtracts and compares exactly", () => {
  expect(addQuantities("100m", "900m")).toBe("1");
  expect(addQuantities("0", "64Mi", "64Mi")).toBe("128Mi");
  expect(addQuantities("9007199254740993", "1")).toBe("9007199254740994");
  expect(subtractQuantities("1Gi", "512Mi")).toBe("512Mi");
  expect(compareQuantities("1", "1000m")).toBe(0);
  expect(compareQuantities("1Gi", "1G")).toBe(1);
  expect(compareQuantities("999m", "1")).toBe(-1);
});

test("formats numbers", () => {
  expect(formatQuantity(0.25)).toBe("250m");
  expect(formatQuantity(2 ** 30, "BinarySI")).toBe("1Gi");
  expect(formatQuantity(110)).toBe("110");
});
