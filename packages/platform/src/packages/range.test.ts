import { describe, expect, test } from "vitest";
import { highestIn, parseRange } from "./range.ts";

describe("what is in a range", () => {
  test.for([
    ["1.4.2", "1.4.2", "1.4.3"],
    ["1.4", "1.4.9", "1.5.0"],
    ["1.x", "1.9.0", "2.0.0"],
    ["*", "7.0.0", "7.0.1-rc.1"],
    ["v1.2.3", "1.2.3", "1.2.4"],
    ["~1.2.3", "1.2.9", "1.3.0"],
    ["~1", "1.9.9", "2.0.0"],
    ["^1.2.3", "1.9.0", "2.0.0"],
    ["^0.2.3", "0.2.9", "0.3.0"],
    ["^0.0.3", "0.0.3", "0.0.4"],
    ["^0", "0.9.0", "1.0.0"],
    ["> 1.2", "1.3.0", "1.2.5"],
    [">1.2.3", "1.2.4", "1.2.3"],
    ["<= 1.2", "1.2.9", "1.3.0"],
    ["< 1.2", "1.1.9", "1.2.0"],
    [">= 1.2, < 2", "1.9.9", "2.0.0"],
    [">=1.2 <2 !=1.4.x", "1.5.0", "1.4.7"],
    ["1.2 - 1.4.5", "1.4.5", "1.4.6"],
    ["^1 || ^3", "3.1.0", "2.1.0"],
    ["^1.2.0-0", "1.3.0-dev.4+gabc", "2.0.0-rc.1"],
    ["^1.2", "1.2.0+gabc", "1.3.0-dev.4"],
  ])("%s has %s and not %s", ([range = "", inside = "", outside = ""]) => {
    expect(parseRange(range)(inside)).toBe(true);
    expect(parseRange(range)(outside)).toBe(false);
  });
});

test("what is no range is told", () => {
  for (const text of ["", "latest", "1.2.3.4", "^", "^1 ||"]) {
    expect(() => parseRange(text), text).toThrow("neither a version nor a range");
  }
});

test("the highest is found by precedence, and versions that differ by build metadata are equal", () => {
  const versions = ["1.9.0", "1.10.0+a", "1.10.0+b", "2.0.0", "not-a-version"];
  expect(highestIn(versions, parseRange("^1"))).toEqual(["1.10.0+a", "1.10.0+b"]);
  expect(highestIn(versions, parseRange("^3"))).toEqual([]);
});
