import { describe, expect, it } from "vitest";
import { find, fromPlain, same, str, toPlain, type MapNode } from "./tree.ts";

describe("a plain value", () => {
  it("is the same again as a tree and back", () => {
    const bytes = Uint8Array.from([0x80]);
    const value = { a: [1, 1.5, true, null, "x"], b: { c: 9007199254740993n, d: bytes }, e: [] };
    expect(toPlain(fromPlain(value))).toEqual(value);
  });

  it("has times as RFC 3339 text", () => {
    expect(fromPlain(new Date("2026-01-02T03:04:05.600Z"))).toEqual({
      kind: "time",
      value: "2026-01-02T03:04:05.6Z",
    });
  });

  it("that no file can hold is refused", () => {
    expect(() => fromPlain({ a: () => 1 })).toThrow("a function cannot be part of a file");
  });
});

describe("two trees", () => {
  const tree: MapNode = {
    kind: "map",
    entries: [
      { kind: "comment", text: " one" },
      {
        kind: "entry",
        key: "a",
        value: { kind: "list", items: [str("x"), { kind: "comment", text: " two" }] },
      },
      {
        kind: "entry",
        key: "b",
        value: { kind: "bytes", value: Buffer.from([1]) },
        at: { line: 1, column: 1 },
      },
    ],
  };

  it("are the same whatever their places", () => {
    const copy = structuredClone(tree);
    copy.at = { line: 7, column: 7 };
    expect(same(tree, copy)).toBe(true);
  });

  it.each<[string, MapNode["entries"]]>([
    ["another order", tree.entries.toReversed()],
    ["another comment", [{ kind: "comment", text: " other" }, ...tree.entries.slice(1)]],
    ["one entry less", tree.entries.slice(1)],
    ["another key", [tree.entries[0]!, { kind: "entry", key: "c", value: str("x") }, tree.entries[2]!]],
    [
      "a value of another type",
      [...tree.entries.slice(0, 2), { kind: "entry", key: "b", value: str("\u0001") }],
    ],
  ])("differ with %s", (_, entries) => {
    expect(same(tree, { kind: "map", entries })).toBe(false);
  });

  it("are searched by keys and by indexes that do not count comments", () => {
    expect(find(tree, ["a", 0])).toEqual(str("x"));
    expect(find(tree, ["a", 1])).toBeUndefined();
    expect(find(tree, ["b", "c"])).toBeUndefined();
  });
});
