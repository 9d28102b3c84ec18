/** Waiting times that double, per key: restarts of crashed containers and retries of missing images. */

export interface BackoffOptions {
  initialMs: number;
  maxMs: number;
}

/** As documented for containers: 10 s, 20 s, 40 s, … up to 5 min, forgotten after 10 min without another one. */
export const crashBackoff: BackoffOptions = { initialMs: 10_000, maxMs: 300_000 };

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #entries = new Map<string, { delayMs: number; updatedAt: number }>();

  constructor(options: BackoffOptions = crashBackoff) {
    this.#options = options;
  }

  /** Milliseconds still to wait when the failure happened at `since`; 0 means go ahead. The first failure waits for nothing. */
  remaining(key: string, since: number, now: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#expired(entry, since)) return 0;
    return Math.max(0, since + entry.delayMs - now);
  }

  /** The waiting time in force for the key, in milliseconds. */
  delay(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  /** Notes that another attempt starts after a failure at `since`. */
  advance(key: string, since: number, now: number): void {
    const entry = this.#entries.get(key);
    const { initialMs, maxMs } = this.#options;
    const delayMs =
      entry === undefined || this.#expired(entry, since) ? initialMs : Math.min(entry.delayMs * 2, maxMs);
    this.#entries.set(key, { delayMs, updatedAt: now });
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  #expired(entry: { updatedAt: number }, since: number): boolean {
    return since - entry.updatedAt > this.#options.maxMs * 2;
  }
}

/** Durations as Go prints them in upstream's messages: `10s`, `1m20s`, `5m0s`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours > 0) return `${hours}h${minutes % 60}m${seconds % 60}s`;
  return minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`;
}
