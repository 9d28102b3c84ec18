import { describe, expect, it } from "vitest";
import { fixed, general, parseFloating, parseInteger } from "./numbers.ts";

describe("a floating point number", () => {
  it.each([
    [0, "0", "0"],
    [-0, "-0", "-0"],
    [1, "1", "1"],
    [1.5, "1.5", "1.5"],
    [-1234.56789, "-1234.56789", "-1234.56789"],
    [999_999, "999999", "999999"],
    [1_000_000, "1000000", "1e+06"],
    [1_234_568_000, "1234568000", "1.234568e+09"],
    [1e21, "1000000000000000000000", "1e+21"],
    [5e-324, `0.${"0".repeat(323)}5`, "5e-324"],
    [0.0001, "0.0001", "0.0001"],
    [0.00001, "0.00001", "1e-05"],
    [1e100, `1${"0".repeat(100)}`, "1e+100"],
    [Infinity, "+Inf", "+Inf"],
    [Number.NaN, "NaN", "NaN"],
  ])("%d is written as Go writes it", (value, withoutExponent, shortest) => {
    expect(fixed(value)).toBe(withoutExponent);
    expect(general(value)).toBe(shortest);
  });

  it.each(["0.1", "-12.5", "+Inf", "1e400", "1000000000000000000000"])("is read back from %s", (text) => {
    expect(parseFloating(text)).toBe(Number(text.replace("+Inf", "Infinity")));
  });

  it.each(["", "1.2.3", "0x10", "one"])("is not read from %j", (text) => {
    expect(parseFloating(text)).toBeUndefined();
  });
});

describe("an integer", () => {
  it("has 64 bits with a sign", () => {
    expect(parseInteger("9223372036854775807")).toBe(9223372036854775807n);
    expect(parseInteger("-9223372036854775808")).toBe(-9223372036854775808n);
    expect(parseInteger("9223372036854775808")).toBeUndefined();
    expect(parseInteger("1.0")).toBeUndefined();
  });
});
