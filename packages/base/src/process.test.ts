import { hostname } from "node:os";
import { expect, test } from "vitest";
import { isGone, processName, processOf } from "./process.ts";

test("the name of a process leads to it on its own machine, and on no other", () => {
  const name = processName(hostname(), process.pid);
  expect(processOf(name, hostname())?.pid).toBe(process.pid);
  expect(isGone(name, hostname())).toBe(false);
  expect(processOf(name, `not-${hostname()}`)).toBeUndefined();
  expect(processOf("somebody", hostname())).toBeUndefined();
});
