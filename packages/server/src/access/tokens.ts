/** The table of tokens: what is given out, and who comes with one. */
import type { Grant } from "@kws/api/access";
import type { Token } from "@kws/api/tokens";
import type { Insertable, Selectable, Transaction } from "kysely";
import type { Config } from "../config.ts";
import type { Database } from "../database/open.ts";
import type { Tables } from "../database/schema.ts";
import type { Actor } from "./actor.ts";
import { isSameHash, newToken, parseToken } from "./bearer.ts";
import { limitedTo } from "./grants.ts";

/** How long people stay signed in: with every sign-in their teams are read anew. */
export const lifetimes = { login: 7 * 86_400_000, session: 12 * 3_600_000 } as const;

/** How old the last use may be said to be. */
const useMs = 60_000;

type Row = Selectable<Tables["tokens"]>;

/** The row, and the text that only the caller gets. */
export async function issueToken(
  trx: Transaction<Tables>,
  values: Omit<Insertable<Tables["tokens"]>, "id" | "hash">,
): Promise<{ row: Row; text: string }> {
  const { id, hash, text } = newToken();
  const row = await trx
    .insertInto("tokens")
    .values({ ...values, id, hash })
    .returningAll()
    .executeTakeFirstOrThrow();
  return { row, text };
}

/** What a token with this text may do at `now`; where it may do nothing, why, for whoever knows its secret. */
export async function findActor(
  { db, config }: { db: Database; config: Config },
  text: string,
  now: Date,
): Promise<Actor | "unknown" | "expired" | "revoked" | "disabled"> {
  const parsed = parseToken(text);
  if (parsed === undefined) return "unknown";
  const row = await db.selectFrom("tokens").selectAll().where("id", "=", parsed.id).executeTakeFirst();
  if (row === undefined || !isSameHash(row.hash, parsed.hash)) return "unknown";
  const state = stateOf(row, now);
  if (state !== "active") return state;
  const owner = row.owner === null ? undefined : await findOwner(db, config, row.owner);
  if (owner?.disabled === true) return "disabled";
  await noteUse(db, row, now);
  const token = { id: row.id, kind: row.kind, expiresAt: row.expires_at };
  if (row.role === null || row.scope === null) {
    if (owner === undefined) throw new Error(`the ${row.kind} ${row.id} is nobody's`);
    const { subject, name, teams, grants } = owner;
    return { kind: "user", id: subject, name, teams, grants, token };
  }
  const wanted: Grant[] = [{ role: row.role, scope: row.scope }];
  const grants = owner === undefined ? wanted : limitedTo(wanted, owner.grants);
  return { kind: "token", id: row.id, name: row.name, teams: [], grants, token };
}

async function findOwner(db: Database, config: Config, subject: string) {
  const { name, teams, disabled } = await db
    .selectFrom("users")
    .select(["name", "teams", "disabled"])
    .where("subject", "=", subject)
    .executeTakeFirstOrThrow();
  const bindings = await db
    .selectFrom("bindings")
    .select(["role", "scope"])
    .where((eb) =>
      eb.or([
        eb.and([eb("subject_kind", "=", "user"), eb("subject_name", "=", subject)]),
        eb.and([eb("subject_kind", "=", "team"), eb("subject_name", "=", eb.fn.any(eb.val(teams)))]),
      ]),
    )
    .execute();
  const isAdmin =
    config.adminUsers.includes(subject) || teams.some((team) => config.adminTeams.includes(team));
  const grants: Grant[] = isAdmin ? [{ role: "admin", scope: {} }, ...bindings] : bindings;
  return { subject, name, teams, disabled, grants };
}

async function noteUse(db: Database, { id, used_at: usedAt }: Row, now: Date): Promise<void> {
  if (usedAt !== null && now.getTime() - usedAt.getTime() < useMs) return;
  await db.updateTable("tokens").set({ used_at: now }).where("id", "=", id).execute();
}

/** What is shown of a token. */
export function toToken(row: Row, now: Date): Token {
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    state: stateOf(row, now),
    createdAt: row.created_at.toISOString(),
    expiresAt: row.expires_at.toISOString(),
    ...(row.owner === null ? {} : { owner: row.owner }),
    ...(row.role === null ? {} : { role: row.role }),
    ...(row.scope === null ? {} : { scope: row.scope }),
    ...(row.used_at === null ? {} : { usedAt: row.used_at.toISOString() }),
  };
}

function stateOf(row: Row, now: Date): Token["state"] {
  if (row.revoked_at !== null) return "revoked";
  return row.expires_at <= now ? "expired" : "active";
}
