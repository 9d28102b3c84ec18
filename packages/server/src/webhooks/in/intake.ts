/**
 * Where forges send to: `POST /webhooks/ID`. A delivery is verified, read, written down with one INSERT and answered; work on it
 * comes later, so that a forge never waits for a pipeline, and a server that is killed has lost nothing that it said it has.
 */
import { UserError } from "@kws/base/errors";
import type { FastifyInstance } from "fastify";
import type { Kysely } from "kysely";
import type { WebhookTables } from "../tables.ts";
import { forges } from "./forges.ts";
import { maxBody } from "./payload.ts";
import { inScope, openWebhook } from "./webhooks.ts";

export interface IntakeOptions {
  database: Kysely<WebhookTables>;
  /** What secrets are sealed with, the newest first. */
  keys: readonly Uint8Array[];
  /** Milliseconds since 1970. */
  now: () => number;
  /** Called for each delivery that was not here before, and for those that were refused. */
  onDelivery: (result: "accepted" | "known" | "ignored" | "refused", forge: string) => void;
}

/** Bytes of bodies that are being read at a time. Beyond it, senders are asked to come again. */
const maxInFlight = 4 * maxBody;

/** Registered under its own prefix: its bodies are kept as the bytes that were signed. */
export async function intake(app: FastifyInstance, options: IntakeOptions): Promise<void> {
  const { database, keys, now, onDelivery } = options;
  let inFlight = 0;

  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer", bodyLimit: maxBody },
    (_request, body, done) => {
      done(null, body);
    },
  );

  app.addHook("onRequest", async (request, reply) => {
    const length = Number(request.headers["content-length"] ?? maxBody);
    if (inFlight + length > maxInFlight) {
      return reply
        .code(503)
        .header("retry-after", "5")
        .send({ code: "busy", message: "too many deliveries at once" });
    }
    inFlight += length;
    // Once it is answered, or the sender is gone.
    reply.raw.once("close", () => {
      inFlight -= length;
    });
  });

  app.post<{ Params: { id: string }; Body: Buffer }>("/webhooks/:id", async (request, reply) => {
    const webhook = await openWebhook(database, request.params.id, keys);
    if (webhook === undefined) {
      throw new UserError("there is no such webhook", {
        code: "not-found",
        fix: "Give the forge the address that was shown when the webhook was made.",
      });
    }
    const { body, headers } = request;
    const forge = forges[webhook.forge];
    try {
      const key = forge.verify(body, headers, webhook.secrets, now());
      const events = forge.parse(body, headers);
      const stranger = events.find(({ repository }) => !inScope(webhook.scope, repository.url));
      if (stranger !== undefined) {
        throw new UserError(`the webhook is not for ${stranger.repository.name}`, {
          code: "permission",
          fix: "Make a webhook for that repository, or one for all of its owner's.",
        });
      }
      const isNew = await write(database, webhook.id, key, events);
      onDelivery(!isNew ? "known" : events.length === 0 ? "ignored" : "accepted", webhook.forge);
      return reply.code(202).send({ events: isNew ? events.length : 0 });
    } catch (error) {
      if (error instanceof UserError) onDelivery("refused", webhook.forge);
      throw error;
    }
  });
}

/** False where the delivery was here before. What no pipeline runs for is kept as well: it shows that the forge reaches us. */
async function write(
  database: Kysely<WebhookTables>,
  webhook: string,
  key: string,
  events: object[],
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await database
    .insertInto("webhook_deliveries")
    .values({
      webhook,
      key,
      events: JSON.stringify(events),
      ...(events.length === 0 ? { due_at: null } : {}),
    })
    .onConflict((conflict) => conflict.columns(["webhook", "key"]).doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}
