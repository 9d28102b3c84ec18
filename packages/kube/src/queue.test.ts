import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WorkQueue } from "./queue.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => vi.useRealTimers());

describe("a work queue", () => {
  test("holds a key once however often it is added", async () => {
    const queue = new WorkQueue();
    queue.add("a");
    queue.add("a");
    expect(await queue.next()).toBe("a");
    expect(queue.length).toBe(0);
  });

  test("gives a key that was added while worked on back once it is done", async () => {
    const queue = new WorkQueue();
    queue.add("a");
    await queue.next();
    queue.add("a");
    expect(queue.length).toBe(0);
    queue.done("a");
    expect(await queue.next()).toBe("a");
  });

  test("doubles the delay with every failure until it is forgotten", () => {
    const queue = new WorkQueue({ baseDelayMs: 5, maxDelayMs: 15 });
    for (const delay of [5, 10, 15, 15]) {
      queue.addRateLimited("a");
      vi.advanceTimersByTime(delay - 1);
      expect(queue.length).toBe(0);
      vi.advanceTimersByTime(2);
      expect(queue.length).toBe(1);
      void queue.next();
      queue.done("a");
    }
    expect(queue.failuresOf("a")).toBe(4);
    queue.forget("a");
    expect(queue.failuresOf("a")).toBe(0);
  });

  test("keeps the earliest of several delays", () => {
    const queue = new WorkQueue();
    queue.addAfter("a", 100);
    queue.addAfter("a", 10);
    queue.addAfter("a", 50);
    vi.advanceTimersByTime(11);
    expect(queue.length).toBe(1);
  });

  test("releases its workers when closed", async () => {
    const queue = new WorkQueue();
    const waiting = queue.next();
    queue.close();
    expect(await waiting).toBeUndefined();
    expect(await queue.next()).toBeUndefined();
  });
});
