/** The channels that people and programs are told through, and which messages go into which. */
import { randomBytes, randomUUID } from "node:crypto";
import type { BlockList } from "node:net";
import { type Channel, type NewChannel, type NewTarget, Target } from "@kws/api/notifications";
import { UserError } from "@kws/base/errors";
import type { Selectable } from "kysely";
import { Value } from "typebox/value";
import type { Database } from "../../database/open.ts";
import type { Tables } from "../../database/schema.ts";
import { address, inScope } from "../in/webhooks.ts";
import { seal, unseal } from "../seal.ts";
import { keyOf } from "../standard-webhooks.ts";
import type { Notification } from "./notification.ts";
import { checkedUrl } from "./send.ts";
import { checkTemplate } from "./template.ts";

/** Values that every message has, beside those of its type. */
export const templateNames = [
  "type",
  "outcome",
  "service",
  "repository",
  "branch",
  "commit",
  "author",
  "run",
  "summary",
];
const usualTemplate = "{{service}} {{summary}} ({{repository}} {{branch}} {{commit}}, {{author}})";

/** The target's secrets are in no later answer: the one that is made here is in this one. */
export async function createChannel(
  database: Database,
  { name, target: given, types = ["run.*"], template = usualTemplate }: NewChannel,
  keys: readonly Uint8Array[],
  allowed: BlockList,
): Promise<Channel & { secret?: string }> {
  const target = complete(given);
  checkTarget(target, allowed);
  checkTemplate(template, templateNames);
  const id = randomUUID();
  const sealed = seal(JSON.stringify(target), `channel/${id}`, keys);
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
  const channel = { id, name, kind: target.kind, to: shownTarget(target), types, template, createdAt };
  return target.kind === "webhook" ? { ...channel, secret: target.secret } : channel;
}

/** By name, after the given one. */
export async function listChannels(
  database: Database,
  keys: readonly Uint8Array[],
  after: string,
  limit: number,
): Promise<Channel[]> {
  const rows = await database
    .selectFrom("notification_channels")
    .selectAll()
    .where("name", ">", after)
    .orderBy("name")
    .limit(limit)
    .execute();
  return rows.map((row) => shown(row, keys));
}

export async function removeChannel(
  database: Database,
  name: string,
  keys: readonly Uint8Array[],
): Promise<Channel> {
  const row = await database
    .deleteFrom("notification_channels")
    .where("name", "=", name)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw noChannel(name);
  return shown(row, keys);
}

/** The channels that get a message of this type, and of this repository where they are for some alone. */
export async function channelsFor(
  database: Database,
  { type, repositoryUrl }: Pick<Notification, "type" | "repositoryUrl">,
  keys: readonly Uint8Array[],
): Promise<string[]> {
  const rows = await database
    .selectFrom("notification_channels")
    .select(["id", "types", "kind", "target"])
    .orderBy("name")
    .execute();
  return rows
    .filter(({ types }) => types.some((pattern) => matches(pattern, type)))
    .filter(({ id, kind, target: sealed }) => {
      if (kind !== "status") return true;
      const target = openTarget(id, sealed, keys);
      return target.kind === "status" && repositoryUrl !== undefined && inScope(target.scope, repositoryUrl);
    })
    .map(({ id }) => id);
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

/** With a key to sign with where none was given, and the scope in its one spelling. */
function complete(target: NewTarget): Target {
  if (target.kind === "status") return { ...target, scope: address(target.scope) };
  if (target.kind !== "webhook") return target;
  return { ...target, secret: target.secret ?? `whsec_${randomBytes(32).toString("base64")}` };
}

function checkTarget(target: Target, allowed: BlockList): void {
  switch (target.kind) {
    case "slack":
      checkedUrl(target.url, allowed);
      return;
    case "webhook":
      checkedUrl(target.url, allowed);
      keyOf(target.secret);
      return;
    case "status":
      checkedUrl(target.api, allowed);
      return;
    case "email":
      checkAddresses(target.to);
  }
}

function checkAddresses(to: string[]): void {
  const wrong = to.find((address) => !/^[^\s@<>,;:"]+@[^\s@<>,;:"]+$/.test(address));
  if (wrong === undefined) return;
  throw new UserError(`"${wrong}" is not an address of e-mail`, {
    code: "config",
    fix: "Write it like team@example.com.",
  });
}

function shownTarget(target: Target): string {
  switch (target.kind) {
    case "email":
      return target.to.join(", ");
    case "status":
      return target.scope;
    case "slack":
    case "webhook":
      return new URL(target.url).host;
  }
}

function shown(
  { id, name, kind, target, types, template, created_at }: Selectable<Tables["notification_channels"]>,
  keys: readonly Uint8Array[],
): Channel {
  const to = shownTarget(openTarget(id, target, keys));
  return { id, name, kind, to, types, template, createdAt: created_at.toISOString() };
}

export function noChannel(name: string): UserError {
  return new UserError(`there is no channel "${name}"`, {
    code: "not-found",
    fix: "See `kws server notification list`.",
  });
}
