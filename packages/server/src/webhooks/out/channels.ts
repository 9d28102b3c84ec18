/** The channels that people and programs are told through, and which messages go into which. */
import { randomUUID } from "node:crypto";
import type { BlockList } from "node:net";
import { UserError } from "@kws/base/errors";
import type { Kysely } from "kysely";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { seal, unseal } from "../seal.ts";
import { keyOf } from "../standard-webhooks.ts";
import type { WebhookTables } from "../tables.ts";
import { checkedUrl } from "./send.ts";
import { checkTemplate } from "./template.ts";

type Database = Kysely<WebhookTables>;

/** Where a channel leads; sealed in the database as a whole, since the address of an incoming webhook is its password. */
export const Target = Type.Union([
  Type.Object({ kind: Type.Literal("slack"), url: Type.String() }),
  Type.Object({ kind: Type.Literal("webhook"), url: Type.String(), secret: Type.String() }),
  Type.Object({ kind: Type.Literal("email"), to: Type.Array(Type.String(), { minItems: 1, maxItems: 50 }) }),
]);
export type Target = Static<typeof Target>;

/** What anybody may see of a channel. */
export interface Channel {
  id: string;
  name: string;
  kind: Target["kind"];
  /** The host of its address, or the receivers. */
  to: string;
  types: string[];
  template: string;
  createdAt: string;
}

export interface NewChannel {
  name: string;
  target: Target;
  /** Types of messages, such as `run.failed`, or `run.*`. */
  types: string[];
  template?: string;
}

/** Values that every message has, beside those of its type. */
export const templateNames = [
  "type",
  "outcome",
  "service",
  "repository",
  "branch",
  "commit",
  "author",
  "step",
  "summary",
];
const usualTemplate = "{{service}} {{summary}} ({{repository}} {{branch}} {{commit}}, {{author}})";

export async function createChannel(
  database: Database,
  { name, target, types, template = usualTemplate }: NewChannel,
  keys: readonly Uint8Array[],
  allowed: BlockList,
): Promise<Channel> {
  checkTarget(target, allowed);
  checkTemplate(template, templateNames);
  const [key] = keys;
  if (key === undefined) throw new UserError("the server has no key for secrets", { code: "config" });
  const id = randomUUID();
  const sealed = seal(JSON.stringify(target), `channel/${id}`, key);
  const row = await database
    .insertInto("notification_channels")
    .values({ id, name, kind: target.kind, target: sealed, template, types })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .returning("created_at")
    .executeTakeFirst();
  if (row === undefined) {
    throw new UserError(`there is a channel "${name}" already`, {
      code: "conflict",
      fix: "Give it another name.",
    });
  }
  const createdAt = row.created_at.toISOString();
  return { id, name, kind: target.kind, to: shownTarget(target), types, template, createdAt };
}

export async function listChannels(database: Database, keys: readonly Uint8Array[]): Promise<Channel[]> {
  const rows = await database.selectFrom("notification_channels").selectAll().orderBy("name").execute();
  return rows.map(({ id, name, kind, target, types, template, created_at }) => ({
    id,
    name,
    kind,
    to: shownTarget(openTarget(id, target, keys)),
    types,
    template,
    createdAt: created_at.toISOString(),
  }));
}

export async function removeChannel(database: Database, name: string): Promise<void> {
  const { numDeletedRows } = await database
    .deleteFrom("notification_channels")
    .where("name", "=", name)
    .executeTakeFirst();
  if (numDeletedRows === 0n) {
    throw new UserError(`there is no channel "${name}"`, {
      code: "not-found",
      fix: "See `kws server notification list`.",
    });
  }
}

/** The ids of the channels that get messages of a type. */
export async function channelsFor(database: Database, type: string): Promise<string[]> {
  const rows = await database
    .selectFrom("notification_channels")
    .select(["id", "types"])
    .orderBy("name")
    .execute();
  return rows.filter(({ types }) => types.some((pattern) => matches(pattern, type))).map(({ id }) => id);
}

/** A channel as it is now; undefined where it has been removed. */
export async function openChannel(
  database: Database,
  id: string,
  keys: readonly Uint8Array[],
): Promise<{ target: Target; template: string } | undefined> {
  const row = await database
    .selectFrom("notification_channels")
    .select(["target", "template"])
    .where("id", "=", id)
    .executeTakeFirst();
  return row === undefined ? undefined : { target: openTarget(id, row.target, keys), template: row.template };
}

/** `*` stands for one part between dots. */
export function matches(pattern: string, type: string): boolean {
  const [wanted, parts] = [pattern.split("."), type.split(".")];
  return (
    wanted.length === parts.length && wanted.every((part, index) => part === "*" || part === parts[index])
  );
}

function openTarget(id: string, sealed: string, keys: readonly Uint8Array[]): Target {
  return Value.Parse(Target, JSON.parse(unseal(sealed, `channel/${id}`, keys)));
}

function checkTarget(target: Target, allowed: BlockList): void {
  if (target.kind !== "email") checkedUrl(target.url, allowed);
  if (target.kind === "webhook") keyOf(target.secret);
  if (target.kind !== "email") return;
  const wrong = target.to.find((address) => !/^[^\s@<>,;:"]+@[^\s@<>,;:"]+$/.test(address));
  if (wrong === undefined) return;
  throw new UserError(`"${wrong}" is not an address of e-mail`, {
    code: "config",
    fix: "Write it like team@example.com.",
  });
}

function shownTarget(target: Target): string {
  return target.kind === "email" ? target.to.join(", ") : new URL(target.url).host;
}
