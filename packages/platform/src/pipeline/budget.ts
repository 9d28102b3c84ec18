/** How long a run may be at work; the time in which it does nothing but wait for people does not count. */

export interface Budget {
  /** Aborts when it is used up. */
  signal: AbortSignal;
  /** Nothing of it is used until `resume`. */
  pause(): void;
  resume(): void;
}

/** Begins at once. `clock` answers milliseconds; `used` makes the signal's reason. */
export function openBudget(ms: number, clock: () => number, used: () => Error): Budget {
  const late = new AbortController();
  let left = ms;
  let since = 0;
  let timer: NodeJS.Timeout | undefined;
  const budget: Budget = {
    signal: late.signal,
    pause() {
      if (timer === undefined) return;
      clearTimeout(timer);
      timer = undefined;
      left -= clock() - since;
    },
    resume() {
      if (timer !== undefined) return;
      since = clock();
      timer = setTimeout(() => late.abort(used()), Math.max(0, left));
    },
  };
  budget.resume();
  return budget;
}
