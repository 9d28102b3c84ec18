import { expect, test } from "vitest";
import { parseSelector, SelectorError } from "./selector.ts";

test("spaces of any number part nothing", () => {
  expect(parseSelector("  a   in  ( x ,  y ) ,   !b  ")).toEqual([
    { key: "a", operator: "In", values: ["x", "y"] },
    { key: "b", operator: "DoesNotExist", values: [] },
  ]);
});

test("a long run of spaces is refused", () => {
  expect(() => parseSelector(`a${" ".repeat(200_000)}b`)).toThrow(SelectorError);
});
