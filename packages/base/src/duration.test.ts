import { describe, expect, test } from "vitest";
import { formatAge, formatDuration, parseDuration } from "./duration.ts";
import { UserError } from "./errors.ts";

describe("parseDuration", () => {
  test("units add up, and a bare number is seconds", () => {
    expect(parseDuration("1h30m")).toBe(5_400_000);
    expect(parseDuration("500ms")).toBe(500);
    expect(parseDuration("7d")).toBe(604_800_000);
    expect(parseDuration("90")).toBe(90_000);
    expect(parseDuration("1.5s")).toBe(1500);
  });

  test.each(["", "soon", "5x", "1h garbage", "-5s", "h"])("%j is refused as a usage error", (text) => {
    expect(() => parseDuration(text)).toThrow(UserError);
  });
});

test("durations are printed with at most two units", () => {
  expect(formatDuration(340)).toBe("340 ms");
  expect(formatDuration(4213)).toBe("4.2 s");
  expect(formatDuration(59_990)).toBe("1m0s");
  expect(formatDuration(200_000)).toBe("3m20s");
  expect(formatDuration(7_500_000)).toBe("2h5m");
  expect(formatDuration(6 * 86_400_000 + 4 * 3_600_000)).toBe("6d4h");
});

test("ages have one unit", () => {
  expect(formatAge(12_900)).toBe("12s");
  expect(formatAge(3 * 3_600_000)).toBe("3h");
  expect(formatAge(-5)).toBe("0s");
});
