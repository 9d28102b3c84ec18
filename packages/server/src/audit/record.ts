/** Writing the audit log: an entry is part of the transaction of what it tells of, and follows from the entry before. */
import { sql, type Transaction } from "kysely";
import type { AuditEntry } from "@kws/api/audit";
import type { Tables } from "../database/schema.ts";
import { type AuditContent, entryHash, firstPrevious } from "./chain.ts";

export interface NewAuditEntry {
  actor: AuditEntry["actor"];
  /** `noun.verb`. */
  action: string;
  subject: string;
  why?: string;
  /** As JSON; never what may be secret. */
  before?: unknown;
  after?: unknown;
}

/** Held to the transaction's end: entries follow from each other in the order in which they are committed. */
const chainLock = 0x6b7775;

/** Call it late in a transaction, and before `publish`: other writers wait from here to its end. */
export async function record(trx: Transaction<Tables>, entry: NewAuditEntry): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${chainLock})`.execute(trx);
  const { last, at } = await trx
    .selectNoFrom((eb) => [
      eb.selectFrom("audit").select("hash").orderBy("seq", "desc").limit(1).as("last"),
      // Of the database, whose clock all servers share.
      sql<Date>`date_trunc('milliseconds', clock_timestamp())`.as("at"),
    ])
    .executeTakeFirstOrThrow();
  const previous = last ?? firstPrevious;
  const { actor, action, subject, why, before, after } = entry;
  // An actor is more to the server than to the log.
  const who = { kind: actor.kind, id: actor.id, name: actor.name };
  const content: AuditContent = { at: at.toISOString(), actor: who, action, subject, why, before, after };
  await trx
    .insertInto("audit")
    .values({
      at,
      actor: JSON.stringify(who),
      action,
      subject,
      why: why ?? null,
      before: before === undefined ? null : JSON.stringify(before),
      after: after === undefined ? null : JSON.stringify(after),
      previous,
      // As it will be read again.
      hash: entryHash(previous, JSON.parse(JSON.stringify(content)) as AuditContent),
    })
    .execute();
}
