/** Bodies made to cost far more than they weigh. */
import { expect, test } from "vitest";
import { jsonPatch, parseObject, SchemaError } from "./index.ts";
import { validateStructural } from "./validate.ts";

test("duplicate keys far inside an object are found in time that grows with its size alone", () => {
  const depth = 500;
  const { duplicates } = parseObject(`${'{"a":'.repeat(depth)}{"z":1,"z":2}${"}".repeat(depth)}`, "json");
  expect(duplicates).toEqual([`${"a.".repeat(depth)}z`]);
});

test("no more than a hundred duplicate keys are told", () => {
  const many = Array.from({ length: 1000 }, (_, index) => `"k${index % 300}":1`);
  expect(parseObject(`{${many.join(",")}}`, "json").duplicates).toHaveLength(100);
});

test("a patch may not double its object again and again", () => {
  const doubling = Array.from({ length: 40 }, (_, index) => ({ op: "copy", from: "", path: `/k${index}` }));
  expect(() => jsonPatch({ text: "x".repeat(100) }, doubling)).toThrow(SchemaError);
  expect(() => jsonPatch({ text: "x".repeat(100) }, doubling)).toThrow("accumulated size increase of copy");
});

test("a few copies are fine", () => {
  expect(jsonPatch({ a: [1] }, [{ op: "copy", from: "/a", path: "/b" }])).toEqual({ a: [1], b: [1] });
});

const schema = (pattern: string) => ({
  type: "object",
  properties: { list: { type: "array", items: { type: "string", pattern } } },
});

test("a pattern that would take for ever is refused once, whatever the number of values", () => {
  const list = Array.from({ length: 50 }, () => `${"a".repeat(60)}!`);
  expect(validateStructural(schema("^(a+)+$"), { list })).toEqual([
    expect.objectContaining({ field: "list[0]", message: expect.stringContaining("takes too long") }),
  ]);
});

test("a pattern of several parts still judges values", () => {
  const names = schema("^[a-z]([-a-z0-9]*[a-z0-9])?$");
  expect(validateStructural(names, { list: ["web-1"] })).toEqual([]);
  expect(validateStructural(names, { list: ["web-1", "Web"] })).toEqual([
    expect.objectContaining({ field: "list[1]", message: expect.stringContaining("should match") }),
  ]);
});
