import { expect, test } from "vitest";
import { createLimiter } from "./limits.ts";

test("a caller may send its requests at once, and has to wait for the next; others do not", () => {
  let now = 0;
  const limiter = createLimiter(60, () => now);
  for (let request = 0; request < 60; request++) limiter.take("one");
  expect(() => limiter.take("one")).toThrow(expect.objectContaining({ reason: "too-many", retryAfter: 1 }));
  limiter.take("other");
  now += 1000;
  limiter.take("one");
  expect(() => limiter.take("one")).toThrow("more than 60 requests in a minute");
});
