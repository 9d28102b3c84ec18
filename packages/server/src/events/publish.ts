/** Writing a live event: part of the transaction that made it true, and told to all servers when that is committed. */
import { sql, type Transaction } from "kysely";
import type { Tables } from "../database/schema.ts";

export const channel = "kws_events";
/** Held to the transaction's end: ids become visible in their order, and a reader that goes on after one misses none. */
const orderLock = 0x6b7774;

export interface NewEvent {
  /** `noun.happened`. */
  kind: string;
  /** The id of what it happened to. */
  subject: string;
  data: Record<string, unknown>;
}

/** Call it last in a transaction: other writers of events wait from here to its end. */
export async function publish(trx: Transaction<Tables>, event: NewEvent): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${orderLock})`.execute(trx);
  await trx
    .insertInto("events")
    .values({ ...event, data: JSON.stringify(event.data) })
    .execute();
  await sql`SELECT pg_notify(${channel}, '')`.execute(trx);
}
