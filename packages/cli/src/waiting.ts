/** Waiting, of commands: until the person ends it, or for so long and no longer. */
import { formatDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";

/** Of `--timeout`. */
export const defaultTimeoutMs = 300_000;

/** For commands that go on until the person ends them. */
export function untilAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** For a package to arrive; given up after the time, as a `timeout`. */
export async function fetchedWithin<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { service, ms, signal }: { service: string; ms: number; signal: AbortSignal },
): Promise<T> {
  const late = new AbortController();
  const error = new UserError(`the package of ${service} was not fetched in ${formatDuration(ms)}`, {
    code: "timeout",
    fix: "See whether the registry answers, or give it longer with --timeout.",
  });
  const timer = setTimeout(() => late.abort(error), ms);
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } catch (failure) {
    if (late.signal.aborted && !signal.aborted) throw error;
    throw failure;
  } finally {
    clearTimeout(timer);
  }
}
