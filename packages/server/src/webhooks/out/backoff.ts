/** When a message that could not be sent is tried again. */

/** Milliseconds before the second, third, … attempt: most outages are over in seconds, and after half a day nobody waits for it. */
const pauses = [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 28_800_000];

/** A server that asks for more than this is not coming back for this message. */
const longest = 28_800_000;

/**
 * How long to wait after the given attempt, the first being 1; undefined when it was the last. Up to a quarter longer, by `random` in
 * 0–1, so that what failed together is not tried together; never shorter than the other side asked for.
 */
export function pauseAfter(attempt: number, random: number, retryAfterMs = 0): number | undefined {
  const pause = pauses[attempt - 1];
  if (pause === undefined || retryAfterMs > longest) return undefined;
  return Math.round(Math.max(pause, retryAfterMs) * (1 + random / 4));
}
