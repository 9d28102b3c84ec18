/**
 * A work queue of keys as controllers use it: a key waits at most once, is worked on by one worker at a time, and comes
 * back after a failure with exponential delay. Semantics of client-go's `workqueue`.
 */

export interface QueueOptions {
  /** First delay after a failure, in milliseconds; doubles each time. */
  baseDelayMs?: number;
  maxDelayMs?: number;
}

/** The longest delay a timer of the runtime can hold. */
const longestTimer = 2 ** 31 - 1;

export class WorkQueue {
  readonly #baseDelay: number;
  readonly #maxDelay: number;
  /** Insertion order is the order of work. */
  readonly #waiting = new Set<string>();
  readonly #active = new Set<string>();
  /** Added again while active: back to waiting when done. */
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { timer: NodeJS.Timeout; at: number }>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(options: QueueOptions = {}) {
    this.#baseDelay = options.baseDelayMs ?? 5;
    this.#maxDelay = options.maxDelayMs ?? 1_000_000;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#active.has(key)) {
      this.#dirty.add(key);
      return;
    }
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#waiting.add(key);
      return;
    }
    this.#active.add(key);
    taker(key);
  }

  /** Of several delays for one key the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = performance.now() + ms;
    const present = this.#timers.get(key);
    if (present !== undefined && present.at <= at) return;
    clearTimeout(present?.timer);
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        const left = at - performance.now();
        if (left > 1) this.addAfter(key, left);
        else this.add(key);
      },
      Math.min(ms, longestTimer),
    );
    this.#timers.set(key, { timer, at });
  }

  /** Comes back later, the later the more often this was called since `forget`. */
  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.min(this.#baseDelay * 2 ** failures, this.#maxDelay));
  }

  failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, which then counts as active until `done`; undefined once the queue is closed. */
  next(): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    const [key] = this.#waiting;
    if (key === undefined) return new Promise((resolve) => this.#takers.push(resolve));
    this.#waiting.delete(key);
    this.#active.add(key);
    return Promise.resolve(key);
  }

  done(key: string): void {
    this.#active.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  /** Drops everything that waits and releases the workers. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    this.#dirty.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}
