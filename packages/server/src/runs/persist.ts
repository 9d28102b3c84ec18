/** Writing what a run has come to, also where the database is away for a while: a run goes on meanwhile. */
import { retry } from "@kws/base/retry";
import type { Transaction } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";

/** About a quarter of an hour. */
const attempts = 180;

/** In a transaction. It may have been done although the database did not answer: it has to come to the same when done again. */
export function persist<T>(
  { db, signal }: Pick<ServerContext, "db" | "signal">,
  work: (trx: Transaction<Tables>) => Promise<T>,
): Promise<T> {
  return retry(() => db.transaction().execute(work), {
    attempts,
    delayMs: 100,
    maxDelayMs: 5_000,
    signal,
    retryable: isAway,
  });
}

/** By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), or where there was no connection at all. */
function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return /connection|timeout/i.test(error.message);
  return /^(08|53|57|40)/.test(code) || /^E[A-Z]+$/.test(code);
}
