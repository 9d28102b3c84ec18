/** The audit log: an entry is written in the transaction of what it tells of. */
import type { Transaction } from "kysely";
import type { Actor } from "../access/actor.ts";
import type { Tables } from "../database/schema.ts";

export interface AuditEntry {
  actor: Actor;
  /** `noun.verb`. */
  action: string;
  subject: string;
  why?: string;
  before?: unknown;
  after?: unknown;
}

export async function record(trx: Transaction<Tables>, entry: AuditEntry): Promise<void> {
  await trx
    .insertInto("audit")
    .values({
      actor: entry.actor.name,
      action: entry.action,
      subject: entry.subject,
      why: entry.why ?? null,
      before: entry.before === undefined ? null : JSON.stringify(entry.before),
      after: entry.after === undefined ? null : JSON.stringify(entry.after),
    })
    .execute();
}
