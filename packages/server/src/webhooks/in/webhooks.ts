/** The webhooks that were made here: a forge, the repositories that it may speak of, and the secrets that prove it. */
import { randomBytes, randomUUID } from "node:crypto";
import type { ForgeName, NewWebhook, Webhook } from "@kws/api/webhooks";
import { UserError } from "@kws/base/errors";
import { publicAddress } from "@kws/platform/project/git";
import type { Transaction } from "kysely";
import type { Database } from "../../database/open.ts";
import type { Tables } from "../../database/schema.ts";
import { seal, unseal } from "../seal.ts";
import { keyOf } from "../standard-webhooks.ts";

/** Makes a webhook. The secret is in the answer, and never again in any other. */
export async function createWebhook(
  database: Database,
  { name, forge, scope, secret = newSecret(forge) }: NewWebhook,
  keys: readonly Uint8Array[],
): Promise<{ webhook: Webhook; secret: string }> {
  checkSecret(forge, secret);
  const id = randomUUID();
  const row = await database
    .insertInto("webhooks")
    .values({ id, name, forge, scope: address(scope), secrets: [seal(secret, `webhook/${id}`, keys)] })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) {
    throw new UserError(`there is a webhook "${name}" already`, {
      code: "conflict",
      fix: "Give it another name.",
    });
  }
  return { webhook: shown(row), secret };
}

/** By name, after the given one. */
export async function listWebhooks(database: Database, after: string, limit: number): Promise<Webhook[]> {
  const rows = await database
    .selectFrom("webhooks")
    .selectAll()
    .select((select) =>
      select
        .selectFrom("webhook_deliveries")
        .select("received_at")
        .whereRef("webhook_deliveries.webhook", "=", "webhooks.id")
        .orderBy("number", "desc")
        .limit(1)
        .as("last"),
    )
    .where("name", ">", after)
    .orderBy("name")
    .limit(limit)
    .execute();
  return rows.map((row) => shown(row, row.last));
}

/** Adds a secret that is taken beside the newest one, which stays until the forge has the new one. */
export async function rotateSecret(
  trx: Transaction<Tables>,
  name: string,
  keys: readonly Uint8Array[],
  given?: string,
): Promise<{ webhook: Webhook; secret: string }> {
  const row = await trx
    .selectFrom("webhooks")
    .selectAll()
    .where("name", "=", name)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw noWebhook(name);
  const secret = given ?? newSecret(row.forge);
  checkSecret(row.forge, secret);
  const secrets = [seal(secret, `webhook/${row.id}`, keys), ...row.secrets.slice(0, 1)];
  await trx.updateTable("webhooks").set({ secrets }).where("id", "=", row.id).execute();
  return { webhook: shown(row), secret };
}

export async function removeWebhook(database: Database, name: string): Promise<Webhook> {
  const row = await database
    .deleteFrom("webhooks")
    .where("name", "=", name)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw noWebhook(name);
  return shown(row);
}

export interface OpenWebhook {
  id: string;
  forge: ForgeName;
  scope: string;
  secrets: string[];
}

/** A webhook with its secrets, for verifying a delivery; undefined for an id that is none. */
export async function openWebhook(
  database: Database,
  id: string,
  keys: readonly Uint8Array[],
): Promise<OpenWebhook | undefined> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return undefined;
  const row = await database
    .selectFrom("webhooks")
    .select(["id", "forge", "scope", "secrets"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return { ...row, secrets: row.secrets.map((secret) => unseal(secret, `webhook/${id}`, keys)) };
}

/** Whether a webhook may speak of a repository: one team's secret says nothing of another team's code. */
export function inScope(scope: string, url: string): boolean {
  const repository = address(url);
  // What climbs out of its folder is in none.
  if (/\/\.{0,2}(\/|$)|%/.test(repository.replace("://", ":"))) return false;
  return scope.endsWith("/*") ? repository.startsWith(scope.slice(0, -1)) : repository === scope;
}

/** One spelling for one repository, or for all below a folder with `/*` at its end; a path of this machine as it is. */
export function address(text: string): string {
  const url = text.endsWith("/*") ? text.slice(0, -2) : text;
  return `${publicAddress(url) ?? url}${url === text ? "" : "/*"}`;
}

/** GitLab makes its signing tokens itself: what is made here goes into its field for secret tokens, which every version has. */
function newSecret(forge: ForgeName): string {
  const bytes = randomBytes(32);
  return forge === "gitlab" ? bytes.toString("base64url") : `whsec_${bytes.toString("base64")}`;
}

/** Plain git signs with a key; forges take any text, but what is short can be guessed from one delivery. */
function checkSecret(forge: ForgeName, secret: string): void {
  if (forge === "git" || secret.startsWith("whsec_")) keyOf(secret);
  else if (secret.length < 16) {
    throw new UserError("the webhook's secret is shorter than 16 characters", {
      code: "config",
      fix: "Take a longer one, or let one be made.",
    });
  }
}

interface Row {
  id: string;
  name: string;
  forge: ForgeName;
  scope: string;
  created_at: Date;
}

function shown({ id, name, forge, scope, created_at }: Row, last: Date | null = null): Webhook {
  const webhook = { id, name, forge, scope, path: `/webhooks/${id}`, createdAt: created_at.toISOString() };
  return last === null ? webhook : { ...webhook, lastDeliveryAt: last.toISOString() };
}

export function noWebhook(name: string): UserError {
  return new UserError(`there is no webhook "${name}"`, {
    code: "not-found",
    fix: "See `kws server webhook list`.",
  });
}
