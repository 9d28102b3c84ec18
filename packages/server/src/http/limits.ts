/** How many requests a caller may send: a bucket that fills evenly, in the memory of each server. */
import { ApiError } from "@kws/api/errors";

export interface Limiter {
  /** Throws `too-many` where the bucket is empty. */
  take(key: string): void;
}

export function createLimiter(perMinute: number, now: () => number): Limiter {
  const buckets = new Map<string, { tokens: number; at: number }>();
  const perMs = perMinute / 60_000;
  return {
    take(key) {
      const at = now();
      // Full ones say nothing.
      if (buckets.size > 10_000)
        for (const [other, { tokens, at: then }] of buckets)
          if (tokens + (at - then) * perMs >= perMinute) buckets.delete(other);
      const bucket = buckets.get(key) ?? { tokens: perMinute, at };
      const tokens = Math.min(perMinute, bucket.tokens + (at - bucket.at) * perMs);
      if (tokens < 1) {
        throw new ApiError("too-many", `more than ${perMinute} requests in a minute`, {
          retryAfter: Math.ceil((1 - tokens) / perMs / 1000),
        });
      }
      buckets.set(key, { tokens: tokens - 1, at });
    },
  };
}
