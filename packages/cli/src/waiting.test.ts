import { expect, test } from "vitest";
import { fetchedWithin } from "./waiting.ts";

/** A registry that says nothing. */
const silence = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("the request was aborted")));
  });

test("a package that does not arrive in its time is told as late, and whoever fetches it gives up", async () => {
  const { signal } = new AbortController();
  await expect(fetchedWithin(silence, { service: "orders", ms: 5, signal })).rejects.toMatchObject({
    code: "timeout",
    message: "the package of orders was not fetched in 5 ms",
    fix: expect.stringContaining("--timeout"),
  });
});

test("what ends it otherwise is told as what it is", async () => {
  const ended = new AbortController();
  const waiting = fetchedWithin(silence, { service: "orders", ms: 60_000, signal: ended.signal });
  ended.abort();
  await expect(waiting).rejects.toThrow("the request was aborted");
  const refused = () => Promise.reject(new Error("refused"));
  const { signal } = new AbortController();
  await expect(fetchedWithin(refused, { service: "orders", ms: 60_000, signal })).rejects.toThrow("refused");
});
