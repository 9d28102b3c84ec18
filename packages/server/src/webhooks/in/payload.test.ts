import { UserError } from "@kws/base/errors";
import { Type } from "typebox";
import { expect, test } from "vitest";
import { maxBody, Name, payload } from "./payload.ts";

const Body = Type.Object({ name: Name });
const read = (text: string | Uint8Array) => payload(Body, Buffer.from(text));

test("what is not asked for may be there", () => {
  expect(read('{"name": "shop", "size": [1, {"a": "]}"}]}').name).toBe("shop");
});

test.each([
  ["nested arrays", `{"name": "shop", "a": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "deeper"],
  ["nested objects", `{"name": "shop", "a": ${'{"a":'.repeat(65)}1${"}".repeat(65)}}`, "deeper"],
  ["a half body", '{"name": "shop"', "not JSON"],
  ["bytes that are no text", Buffer.from([0x7b, 0xff, 0x7d]), "not UTF-8"],
  ["a number for a name", '{"name": 7}', "/name"],
  ["an empty name", '{"name": ""}', "/name"],
  ["a name of two lines", '{"name": "a\\nb"}', "/name"],
  ["a name that never ends", `{"name": "${"a".repeat(2000)}"}`, "/name"],
  ["a huge body", Buffer.alloc(maxBody + 1, 0x20), "larger"],
])("%s are refused", (_case, text, reason) => {
  expect(() => read(text)).toThrow(UserError);
  expect(() => read(text)).toThrow(reason);
});

test("brackets in strings are not depth", () => {
  expect(read(JSON.stringify({ name: `\\"${"[".repeat(500)}` })).name).toHaveLength(502);
});

test("a body cannot give an object another prototype", () => {
  const value = read(
    '{"name": "shop", "__proto__": {"admin": true}, "constructor": {"prototype": {"admin": true}}}',
  );
  expect(Object.hasOwn(value, "__proto__")).toBe(false);
  expect("admin" in { ...value }).toBe(false);
  expect("admin" in {}).toBe(false);
});

test("an error does not quote the body", () => {
  expect(() => read('{"name": "hunter2", ')).not.toThrow("hunter2");
});
