import { describe, expect, it } from "vitest";
import type { SopsError } from "../errors.ts";
import { json } from "./json.ts";

function again(text: string, indent?: number): string {
  return json.emit(json.parse(text, undefined), { indent });
}

function failure(text: string): SopsError {
  try {
    json.parse(text, "x.json");
  } catch (error) {
    return error as SopsError;
  }
  return expect.fail("it was read");
}

describe("a JSON file", () => {
  it("comes back with its order, its integers and Go's indent", () => {
    const text = '{\n\t"b": 9223372036854775807,\n\t"2": [\n\t\t1,\n\t\t[],\n\t\t{}\n\t],\n\t"1": null\n}\n';
    expect(again(text)).toBe(text);
  });

  it("is indented by as many blanks as are asked for", () => {
    expect(again('{"a":{"b":[1]}}', 2)).toBe('{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}\n');
  });

  it("is quoted like Go quotes", () => {
    expect(again('{"a":"<b> & \\u2028 \\ud83d\\ude00 \\"\\\\/"}')).toBe(
      '{\n\t"a": "\\u003cb\\u003e \\u0026 \\u2028 😀 \\"\\\\/"\n}\n',
    );
  });

  it.each([
    ["1.0", "1"],
    ["1e21", "1e+21"],
    ["1e-7", "1e-7"],
    ["123456789012345678901234567890", "1.2345678901234568e+29"],
    ["-0.5", "-0.5"],
  ])("writes the number %s as %s", (number, expected) => {
    expect(again(`{"a":${number}}`)).toBe(`{\n\t"a": ${expected}\n}\n`);
  });

  it("drops comments", () => {
    expect(json.emit([{ kind: "map", entries: [{ kind: "comment", text: " x" }] }], {})).toBe("{}\n");
  });
});

describe("what is refused, with its place", () => {
  it.each([
    ["a list at the top", "[1]", "x.json:1:1"],
    ["a key given twice", '{"a": 1,\n "a": 2}', "x.json:2:2"],
    ["a file that is cut off", '{"a": [1,', "x.json:1:10"],
    ["a text that is not closed", '{"a": "b', "x.json:1:7"],
    ["a comma at the end", '{"a": 1,}', "x.json:1:9"],
    ["a comment", '{"a": 1 // x\n}', "x.json:1:9"],
    ["a second object", "{} {}", "x.json:1:4"],
    ["a number with a leading zero", '{"a": 01}', "x.json:1:8"],
    ["a number too large to be one", '{"a": 1e999}', "x.json:1:7"],
    ["endless nesting", `{"a": ${"[".repeat(5000)}`, "x.json:1:1006"],
  ])("%s", (_, text, at) => {
    expect(failure(text).at).toBe(at);
  });

  it("without repeating the content of the file", () => {
    expect(failure('{"password": s3cret}').message).not.toContain("s3cret");
  });
});
