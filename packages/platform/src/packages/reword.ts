/** Errors in other words: without what is secret, or without the folder of a moment that a package was unpacked in. */
import { UserError } from "@kws/base/errors";

/** Runs the work; what people would read of its error has gone through `change`. */
export async function reworded<T>(change: (text: string) => string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const { message, code, fix, at, cause } = error;
    throw new UserError(change(message), {
      code,
      cause,
      ...(fix === undefined ? {} : { fix: change(fix) }),
      ...(at === undefined ? {} : { at: change(at) }),
    });
  }
}
