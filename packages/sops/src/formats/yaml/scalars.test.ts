import { describe, expect, it } from "vitest";
import { IntegerTooLarge, isPlainText, resolvePlain, resolveTagged } from "./scalars.ts";

describe("an unquoted scalar", () => {
  it.each([
    ["", { kind: "null" }],
    ["~", { kind: "null" }],
    ["nUll", { kind: "str", value: "nUll" }],
    ["true", { kind: "bool", value: true }],
    ["yes", { kind: "str", value: "yes" }],
    ["off", { kind: "str", value: "off" }],
    ["0x10", { kind: "int", value: 16 }],
    ["0777", { kind: "int", value: 511 }],
    ["0o17", { kind: "int", value: 15 }],
    ["-0b11", { kind: "int", value: -3 }],
    ["1_000", { kind: "int", value: 1000 }],
    ["+5", { kind: "int", value: 5 }],
    ["089", { kind: "float", value: 89 }],
    ["9007199254740993", { kind: "int", value: 9007199254740993n }],
    ["123456789012345678901", { kind: "float", value: 1.2345678901234568e20 }],
    [".5", { kind: "float", value: 0.5 }],
    ["1.", { kind: "float", value: 1 }],
    ["1e3", { kind: "float", value: 1000 }],
    ["-.inf", { kind: "float", value: -Infinity }],
    ["1.2.3", { kind: "str", value: "1.2.3" }],
    ["12:30", { kind: "str", value: "12:30" }],
    ["2001-02-03", { kind: "time", value: "2001-02-03T00:00:00Z" }],
    ["2001-2-3 4:05:06.7000", { kind: "time", value: "2001-02-03T04:05:06.7Z" }],
    ["2001-02-03T04:05:06+01:00", { kind: "time", value: "2001-02-03T04:05:06+01:00" }],
    ["2001-02-30", { kind: "str", value: "2001-02-30" }],
    ["-", { kind: "str", value: "-" }],
    [".", { kind: "str", value: "." }],
  ])("%j is what go-yaml takes it for", (text, expected) => {
    expect(resolvePlain(text)).toEqual(expected);
  });

  it("that is an integer beyond 63 bits is refused", () => {
    expect(() => resolvePlain("18446744073709551615")).toThrow(IntegerTooLarge);
  });
});

describe("a tag", () => {
  it("decides about the type", () => {
    expect(resolveTagged("1", "tag:yaml.org,2002:str")).toEqual({ kind: "str", value: "1" });
    expect(resolveTagged("1", "tag:yaml.org,2002:float")).toEqual({ kind: "float", value: 1 });
    expect(resolveTagged("gP8=", "tag:yaml.org,2002:binary")).toEqual({
      kind: "bytes",
      value: Buffer.from([128, 255]),
    });
    expect(resolveTagged("x", "tag:yaml.org,2002:int")).toBeUndefined();
  });
});

describe("a text", () => {
  it.each(["yes", "n", "1", "null", "<<", "12:30", "2001-01-01", "", "0x1"])("%j needs quotes", (text) => {
    expect(isPlainText(text)).toBe(false);
  });

  it.each(["hello", "1.2.3", "nope", "-x"])("%j needs none", (text) => {
    expect(isPlainText(text)).toBe(true);
  });
});
