import { expect, test } from "vitest";
import { keyPath, parseKeyPath } from "./key-path.ts";

test.each([
  [["image", "tag"], "image.tag"],
  [["hosts", 0, "name"], "hosts[0].name"],
  [["labels", "example.com/team"], String.raw`labels.example\.com/team`],
  [["a[0]", "b\\c", "d,e=f"], String.raw`a\[0\].b\\c.d\,e\=f`],
  [["matrix", 1, 2], "matrix[1][2]"],
])("%j is written %s, and read back", (path, text) => {
  expect(keyPath(path)).toBe(text);
  expect(parseKeyPath(text)).toEqual(path);
});

test("keys can be pasted as sops writes them", () => {
  expect(parseKeyPath(`["hosts"][0]['example.com/team']`)).toEqual(["hosts", 0, "example.com/team"]);
});

test.each(['[""]', `["a']`, "", ".a", "a.", "a..b", "a[x]", "a[0", "a\\"])("%j is not a key", (text) => {
  expect(() => parseKeyPath(text)).toThrow(expect.objectContaining({ code: "usage" }));
});
