import { describe, expect, test } from "vitest";
import { CronError, nextTime, parseSchedule } from "./cron.ts";

function next(text: string, after: string, zone?: string): string {
  const time = nextTime(parseSchedule(text, zone), Date.parse(after));
  return time === undefined ? "never" : new Date(time).toISOString();
}

describe("a cron schedule", () => {
  test.each([
    ["*/5 * * * *", "2026-03-01T10:02:30Z", "2026-03-01T10:05:00.000Z"],
    ["0 3 * * *", "2026-03-01T10:02:00Z", "2026-03-02T03:00:00.000Z"],
    ["30 8 * * mon-fri", "2026-03-06T09:00:00Z", "2026-03-09T08:30:00.000Z"],
    ["0 0 1 jan *", "2026-03-06T09:00:00Z", "2027-01-01T00:00:00.000Z"],
    ["0 0 13 * 5", "2026-03-06T09:00:00Z", "2026-03-13T00:00:00.000Z"],
    ["@hourly", "2026-03-06T09:00:00Z", "2026-03-06T10:00:00.000Z"],
    ["0 0 29 2 *", "2026-03-06T09:00:00Z", "2028-02-29T00:00:00.000Z"],
  ])("%s after %s is %s", (text, after, expected) => {
    expect(next(text, after)).toBe(expected);
  });

  test("follows its time zone across a change of clocks", () => {
    expect(next("0 9 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin")).toBe("2026-03-29T07:00:00.000Z");
    expect(next("0 9 * * *", "2026-03-27T12:00:00Z", "Europe/Berlin")).toBe("2026-03-28T08:00:00.000Z");
  });

  test("that can never come has no next time", () => {
    expect(next("0 0 31 2 *", "2026-01-01T00:00:00Z")).toBe("never");
  });

  test.each(["* * * *", "61 * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"])("%s is refused", (text) => {
    expect(() => parseSchedule(text)).toThrow(CronError);
  });

  test("in an unknown zone is refused", () => {
    expect(() => parseSchedule("* * * * *", "Mars/Olympus")).toThrow(/unknown time zone/);
  });
});
