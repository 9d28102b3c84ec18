import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openBudget } from "./budget.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => void vi.useRealTimers());

test("time counts while there is work, and not while it is paused", () => {
  const budget = openBudget(1000, Date.now, () => new Error("used up"));
  vi.advanceTimersByTime(600);
  budget.pause();
  vi.advanceTimersByTime(3_600_000);
  budget.resume();
  budget.resume();
  vi.advanceTimersByTime(399);
  expect(budget.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(budget.signal.reason).toEqual(new Error("used up"));
});
