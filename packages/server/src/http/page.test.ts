import { expect, test } from "vitest";
import { cursorKey, pageLimit, toPage } from "./page.ts";

const rows = ["a", "b", "z", "ü"];
const pageAfter = (after: string, limit: number) =>
  toPage(
    rows.filter((row) => row > after).slice(0, pageLimit(limit)),
    limit,
    (row) => row,
    (row) => row,
  );

test("pages follow each other to the end, and the last one has no next", () => {
  const found: string[][] = [];
  let after = "";
  for (;;) {
    const { items, next } = pageAfter(after, 2);
    found.push(items);
    if (next === undefined) break;
    after = cursorKey(next);
  }
  expect(found).toEqual([
    ["a", "b"],
    ["z", "ü"],
  ]);
});

test("a cursor that nobody gave is refused", () => {
  expect(() => cursorKey("!!")).toThrow("the cursor is not one of this server");
});
