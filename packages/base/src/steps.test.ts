import { expect, test } from "vitest";
import { criticalPath, type StepEvent, type StepRecord, Steps } from "./steps.ts";

const record = (id: string, startedMs: number, durationMs: number, after: string[] = []): StepRecord => ({
  id,
  title: id,
  startedMs,
  durationMs,
  outcome: "done",
  after,
});

test("the critical path is the chain that decided the end", () => {
  const records = [
    record("build a", 0, 50),
    record("build b", 0, 10),
    record("a", 50, 20, ["build a"]),
    record("b", 70, 5, ["build b", "a"]),
    record("c", 0, 60),
  ];
  expect(criticalPath(records).map((step) => step.id)).toEqual(["build a", "a", "b"]);
  expect(criticalPath([])).toEqual([]);
});

test("a step tells its beginning, its details and its end with the time it took", async () => {
  let clock = 0;
  const events: StepEvent[] = [];
  const steps = new Steps({ now: () => clock, onEvent: (event) => events.push(event) });
  await steps.run({ id: "x", title: "X" }, async (step) => {
    clock = 5;
    step.detail("half");
    clock = 9;
    step.skip("unchanged");
  });
  expect(events.map(({ kind, detail, elapsedMs }) => [kind, detail, elapsedMs])).toEqual([
    ["start", undefined, 0],
    ["detail", "half", 5],
    ["skipped", "unchanged", 9],
  ]);
});

test("a failing step is recorded as failed and throws on", async () => {
  const steps = new Steps({ now: () => 0 });
  const work = steps.run({ id: "x", title: "X" }, () => Promise.reject(new Error("no")));
  await expect(work).rejects.toThrow("no");
  expect(steps.records()[0]?.outcome).toBe("failed");
});

test("scoped steps tell whose they are, and belong to the same whole", async () => {
  const events: string[] = [];
  const steps = new Steps({
    now: () => 0,
    onEvent: ({ kind, id, title }) => events.push(`${kind} ${id} ${title}`),
  });
  const inner = steps.scoped("orders").scoped("unit");
  await inner.run({ id: "a", title: "build" }, async () => {});
  await inner.run({ id: "b", title: "run", after: ["a"] }, async () => {});
  expect(events).toContain("done orders: unit: a orders: unit: build");
  expect(steps.records().map(({ id, after }) => [id, after])).toEqual([
    ["orders: unit: a", []],
    ["orders: unit: b", ["orders: unit: a"]],
  ]);
});
