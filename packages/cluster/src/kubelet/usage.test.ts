import { expect, test } from "vitest";
import { measureContainers, parseStat } from "./runtimes/sandbox/usage.ts";
import { between, usageMeter } from "./usage.ts";

const container = (name: string, cpuSeconds: number, memoryBytes = 1024) => ({
  sandboxId: "pod",
  name,
  cpuSeconds,
  memoryBytes,
});
const sample = (time: number, nodeCpuSeconds: number, containers: ReturnType<typeof container>[]) => ({
  time,
  nodeCpuSeconds,
  nodeMemory: 4096,
  containers,
});

test("what is used is what came in the window, and one that was started anew begins at nothing", () => {
  const before = sample(0, 10, [container("steady", 5), container("restarted", 9)]);
  const after = sample(2000, 13, [container("steady", 6), container("restarted", 1), container("new", 3)]);
  const { node, pods, windowSeconds } = between(before, after);
  expect(windowSeconds).toBe(2);
  expect(node).toEqual({ cpu: 1.5, memory: 4096 });
  expect(Object.fromEntries([...(pods.get("pod") ?? [])].map(([name, { cpu }]) => [name, cpu]))).toEqual({
    steady: 0.5,
    restarted: 0.5,
    new: 1.5,
  });
});

test("those who ask at once share one measurement, of two samples", async () => {
  let asked = 0;
  let time = 0;
  const runtime = { usage: async () => [container("only", ++asked)] };
  // Two seconds pass between any two looks at the clock: nothing is waited for.
  const now = () => (time += 2000);
  const measure = usageMeter(runtime, { now, signal: new AbortController().signal });
  const [one, two] = await Promise.all([measure(), measure()]);
  expect(one).toBe(two);
  expect(asked).toBe(2);
  await measure();
  expect(asked).toBe(3);
});

test("a program's name may hold what separates the fields", () => {
  const rest = Array.from({ length: 20 }, (_, index) => String(index + 100)).join(" ");
  expect(parseStat(`7 (a) b (c) S 3 7 7 0 -1 4194304 0 0 0 0 50 25 20 5 ${rest}`)).toMatchObject({
    parent: 3,
    cpuSeconds: 1,
  });
});

test("a process is measured with its children", () => {
  const [own] = measureContainers([{ sandboxId: "a", name: "b", pid: process.pid }]);
  expect(own?.memoryBytes).toBeGreaterThan(1024 * 1024);
  expect(own?.cpuSeconds).toBeGreaterThan(0);
  expect(measureContainers([{ sandboxId: "a", name: "gone", pid: 2 ** 22 + 1 }])).toMatchObject([
    { cpuSeconds: 0, memoryBytes: 0 },
  ]);
});
