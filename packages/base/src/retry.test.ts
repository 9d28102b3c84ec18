import { expect, test } from "vitest";
import { retry, sleep } from "./retry.ts";

test("work that fails twice succeeds at the third attempt", async () => {
  const seen: number[] = [];
  const result = await retry(
    async (attempt) => {
      seen.push(attempt);
      if (attempt < 3) throw new Error("not yet");
      return "done";
    },
    { attempts: 5, delayMs: 1 },
  );
  expect(result).toBe("done");
  expect(seen).toEqual([1, 2, 3]);
});

test("the last error is thrown, and one that is not retryable at once", async () => {
  let calls = 0;
  const work = async () => {
    calls++;
    throw new Error(`failure ${calls}`);
  };
  await expect(retry(work, { attempts: 2, delayMs: 1 })).rejects.toThrow("failure 2");
  await expect(retry(work, { attempts: 9, delayMs: 1, retryable: () => false })).rejects.toThrow("failure 3");
});

test("a pause ends when the signal aborts", async () => {
  const controller = new AbortController();
  const pause = sleep(60_000, controller.signal);
  controller.abort(new Error("enough"));
  await expect(pause).rejects.toThrow("enough");
});
