/** What the API answers about the audit log. */
import { type AuditEntry, listAudit } from "@kws/api/audit";
import { ApiError } from "@kws/api/errors";
import { type Selectable, sql } from "kysely";
import type { Tables } from "../database/schema.ts";
import { endpoint, type Endpoint } from "../http/handlers.ts";
import { cursorKey, pageLimit, toPage } from "../http/page.ts";

export const auditEndpoints: readonly Endpoint[] = [
  endpoint(listAudit, async ({ query }, { db }) => {
    const { limit, cursor, order = "newest", actor, action, subject, since, until } = query;
    const newest = order === "newest";
    let rows = db
      .selectFrom("audit")
      .selectAll()
      .orderBy("seq", newest ? "desc" : "asc")
      .limit(pageLimit(limit));
    if (cursor !== undefined) rows = rows.where("seq", newest ? "<" : ">", seqOf(cursor));
    if (actor !== undefined) rows = rows.where(sql<boolean>`${actor} IN (actor ->> 'id', actor ->> 'name')`);
    if (action !== undefined) rows = rows.where(sql<boolean>`starts_with(action, ${action})`);
    if (subject !== undefined) rows = rows.where("subject", "=", subject);
    if (since !== undefined) rows = rows.where("at", ">=", new Date(since));
    if (until !== undefined) rows = rows.where("at", "<", new Date(until));
    return toPage(await rows.execute(), limit, ({ seq }) => seq, toEntry);
  }),
];

/** A cursor of another list is none of this one. */
function seqOf(cursor: string): string {
  const seq = cursorKey(cursor);
  if (!/^\d{1,18}$/.test(seq)) throw new ApiError("usage", "the cursor is not one of this list");
  return seq;
}

function toEntry(row: Selectable<Tables["audit"]>): AuditEntry {
  const { seq, at, actor, action, subject, why, before, after, previous, hash } = row;
  return {
    seq: Number(seq),
    at: at.toISOString(),
    actor,
    action,
    subject,
    ...(why === null ? {} : { why }),
    ...(before === null ? {} : { before }),
    ...(after === null ? {} : { after }),
    previous,
    hash,
  };
}
