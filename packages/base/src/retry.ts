/** Trying again with growing pauses, and waiting that ends at once when a signal aborts. */

export interface RetryOptions {
  /** How often to try in all. */
  attempts: number;
  /** The first pause in milliseconds; it doubles up to `maxDelayMs`. */
  delayMs: number;
  maxDelayMs?: number;
  signal?: AbortSignal;
  /** Answers false for errors that trying again cannot mend. */
  retryable?: (error: unknown) => boolean;
}

export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  let delay = options.delayMs;
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      if (attempt >= options.attempts || options.retryable?.(error) === false) throw error;
    }
    await sleep(delay, options.signal);
    delay = Math.min(delay * 2, options.maxDelayMs ?? Number.POSITIVE_INFINITY);
  }
}

/** Rejects with the signal's reason when it aborts first. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
