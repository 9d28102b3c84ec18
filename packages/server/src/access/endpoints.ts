/** What the API answers about who somebody is, users, bindings and tokens. */
import { randomUUID } from "node:crypto";
import * as bindings from "@kws/api/bindings";
import { getMe } from "@kws/api/me";
import { beginDeviceSignIn, pollDeviceSignIn, signOut } from "@kws/api/sign-in";
import * as tokens from "@kws/api/tokens";
import * as users from "@kws/api/users";
import { UserError } from "@kws/base/errors";
import type { Selectable } from "kysely";
import { record } from "../audit/record.ts";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";
import { endpoint, type Endpoint } from "../http/handlers.ts";
import { cursorKey, pageLimit, toPage } from "../http/page.ts";
import type { Actor } from "./actor.ts";
import { beginDevice, pollDevice } from "./sign-in.ts";
import { issueToken, toToken } from "./tokens.ts";

const signInEndpoints: readonly Endpoint[] = [
  endpoint(getMe, ({ actor: { kind, id, name, teams, grants, token } }) => {
    if (kind !== "local" && kind !== "user" && kind !== "token") throw new Error(`${kind} has no token`);
    const expires = token === undefined ? {} : { expiresAt: token.expiresAt.toISOString() };
    return Promise.resolve({ kind, id, name, teams: [...teams], grants: [...grants], ...expires });
  }),

  endpoint(beginDeviceSignIn, ({ actor }, ctx) => beginDevice(ctx, actor.id)),

  endpoint(pollDeviceSignIn, ({ body: { handle } }, ctx) => pollDevice(ctx, handle)),

  endpoint(signOut, async ({ actor }, ctx) => {
    await endSession(actor, ctx);
    return {};
  }),
];

/** Revokes the token that somebody has come with. */
export async function endSession(
  actor: Actor,
  { db, now }: Pick<ServerContext, "db" | "now">,
): Promise<void> {
  const { token } = actor;
  if (token === undefined || token.kind === "service") {
    throw new UserError("this token is nobody's sign-in", {
      code: "usage",
      fix: "End a service token with `kws server token revoke`.",
    });
  }
  await db.transaction().execute(async (trx) => {
    await trx.updateTable("tokens").set({ revoked_at: now() }).where("id", "=", token.id).execute();
    await record(trx, { actor, action: "user.sign-out", subject: actor.id, before: { token: token.id } });
  });
}

const userEndpoints: readonly Endpoint[] = [
  endpoint(users.listUsers, async ({ query: { limit, cursor } }, { db }) => {
    let rows = db.selectFrom("users").selectAll().orderBy("subject").limit(pageLimit(limit));
    if (cursor !== undefined) rows = rows.where("subject", ">", cursorKey(cursor));
    return toPage(await rows.execute(), limit, ({ subject }) => subject, toUser);
  }),

  endpoint(users.changeUser, ({ params: { subject }, body: { disabled }, actor }, { db }) =>
    db.transaction().execute(async (trx) => {
      const before = await trx
        .selectFrom("users")
        .selectAll()
        .where("subject", "=", subject)
        .forUpdate()
        .executeTakeFirst();
      if (before === undefined) throw missing("user", subject);
      if (before.disabled === disabled) return toUser(before);
      await trx.updateTable("users").set({ disabled }).where("subject", "=", subject).execute();
      const action = disabled ? "user.disable" : "user.enable";
      await record(trx, { actor, action, subject });
      return toUser({ ...before, disabled });
    }),
  ),
];

const bindingEndpoints: readonly Endpoint[] = [
  endpoint(bindings.listBindings, async ({ query: { limit, cursor } }, { db }) => {
    let rows = db.selectFrom("bindings").selectAll().orderBy("id").limit(pageLimit(limit));
    if (cursor !== undefined) rows = rows.where((eb) => eb(eb.cast("id", "text"), ">", cursorKey(cursor)));
    return toPage(await rows.execute(), limit, ({ id }) => id, toBinding);
  }),

  endpoint(bindings.addBinding, ({ body: { subject, role, scope }, actor }, { db, now }) =>
    db.transaction().execute(async (trx) => {
      const added = await trx
        .insertInto("bindings")
        .values({
          id: randomUUID(),
          subject_kind: subject.kind,
          subject_name: subject.name,
          role,
          scope: JSON.stringify(scope),
          created_at: now(),
        })
        .onConflict((conflict) =>
          conflict.columns(["subject_kind", "subject_name", "role", "scope"]).doNothing(),
        )
        .returningAll()
        .executeTakeFirst();
      if (added === undefined) {
        throw new UserError(`the ${subject.kind} ${subject.name} has this role there already`, {
          code: "conflict",
        });
      }
      await record(trx, { actor, action: "binding.add", subject: added.id, after: { subject, role, scope } });
      return toBinding(added);
    }),
  ),

  endpoint(bindings.removeBinding, ({ params: { id }, actor }, { db }) =>
    db.transaction().execute(async (trx) => {
      const row = await trx.deleteFrom("bindings").where("id", "=", id).returningAll().executeTakeFirst();
      if (row === undefined) throw missing("binding", id);
      const { subject, role, scope } = toBinding(row);
      await record(trx, { actor, action: "binding.remove", subject: id, before: { subject, role, scope } });
      return toBinding(row);
    }),
  ),
];

const tokenEndpoints: readonly Endpoint[] = [
  endpoint(tokens.listTokens, async ({ query: { limit, cursor, kind } }, { db, now }) => {
    let rows = db.selectFrom("tokens").selectAll().orderBy("id").limit(pageLimit(limit));
    if (kind !== undefined) rows = rows.where("kind", "=", kind);
    if (cursor !== undefined) rows = rows.where("id", ">", cursorKey(cursor));
    const at = now();
    return toPage(
      await rows.execute(),
      limit,
      ({ id }) => id,
      (row) => toToken(row, at),
    );
  }),

  endpoint(tokens.createToken, ({ body: { name, role, scope, expiresInDays }, actor }, { db, now }) => {
    // It would outlive the token that made it.
    if (actor.kind === "token") {
      throw new UserError("a service token makes no other tokens", {
        code: "permission",
        fix: "Sign in with `kws login`.",
      });
    }
    const at = now();
    const expiresAt = new Date(at.getTime() + expiresInDays * 86_400_000);
    return db.transaction().execute(async (trx) => {
      const { row, text } = await issueToken(trx, {
        kind: "service",
        name,
        owner: actor.kind === "user" ? actor.id : null,
        role,
        scope: JSON.stringify(scope),
        created_at: at,
        expires_at: expiresAt,
      });
      const after = { name, role, scope, expiresAt: expiresAt.toISOString() };
      await record(trx, { actor, action: "token.create", subject: row.id, after });
      return { ...toToken(row, at), token: text };
    });
  }),

  endpoint(tokens.revokeToken, ({ params: { id }, actor }, { db, now }) =>
    db.transaction().execute(async (trx) => {
      const at = now();
      const row = await trx
        .updateTable("tokens")
        .set((eb) => ({ revoked_at: eb.fn.coalesce("revoked_at", eb.val(at)) }))
        .where("id", "=", id)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) throw missing("token", id);
      await record(trx, { actor, action: "token.revoke", subject: id, before: { name: row.name } });
      return toToken(row, at);
    }),
  ),
];

export const accessEndpoints: readonly Endpoint[] = [
  ...signInEndpoints,
  ...userEndpoints,
  ...bindingEndpoints,
  ...tokenEndpoints,
];

function missing(noun: "user" | "binding" | "token", id: string): UserError {
  return new UserError(`there is no ${noun} "${id}"`, {
    code: "not-found",
    fix: `\`kws server ${noun} list\` shows those there are.`,
  });
}

function toUser(row: Selectable<Tables["users"]>): users.User {
  const { subject, name, email, teams, disabled } = row;
  return {
    subject,
    name,
    teams,
    disabled,
    signedInAt: row.signed_in_at.toISOString(),
    ...(email === null ? {} : { email }),
  };
}

function toBinding(row: Selectable<Tables["bindings"]>): bindings.Binding {
  return {
    id: row.id,
    subject: { kind: row.subject_kind, name: row.subject_name },
    role: row.role,
    scope: row.scope,
    createdAt: row.created_at.toISOString(),
  };
}
