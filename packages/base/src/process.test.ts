import { spawn } from "node:child_process";
import { once } from "node:events";
import { hostname } from "node:os";
import { expect, test } from "vitest";
import { identify, identifyByPs, isAlive, isGone, processName, processOf } from "./process.ts";

test("a process is known by its number and its beginning until it ends, with /proc and without", async () => {
  const child = spawn("sleep", ["1000"]);
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  const known = identify(pid);
  const byPs = identifyByPs(pid);
  expect(known !== undefined && isAlive(known)).toBe(true);
  expect(byPs).toEqual(identifyByPs(pid));
  expect(Math.abs((byPs?.startTicks ?? 0) - Date.now() / 1000)).toBeLessThan(600);
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  expect(known !== undefined && isAlive(known)).toBe(false);
  expect(identifyByPs(pid)).toBeUndefined();
});

test("the name of a process leads to it on its own machine, and on no other", () => {
  const name = processName(hostname(), process.pid);
  expect(processOf(name, hostname())?.pid).toBe(process.pid);
  expect(isGone(name, hostname())).toBe(false);
  expect(processOf(name, `not-${hostname()}`)).toBeUndefined();
  expect(processOf("somebody", hostname())).toBeUndefined();
});
