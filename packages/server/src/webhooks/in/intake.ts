/**
 * Where forges send to: `POST /webhooks/ID`. A delivery is verified, read, written down together with what it begins, and answered;
 * work comes later, so that a forge never waits for a pipeline, and a server that is killed has lost nothing that it said it has.
 */
import { ApiError } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from "fastify";
import type { ServerContext } from "../../context.ts";
import type { ForgeEvent } from "./event.ts";
import { forges } from "./forges.ts";
import { handleEvents } from "./handle.ts";
import { maxBody } from "./payload.ts";
import { inScope, openWebhook, type OpenWebhook } from "./webhooks.ts";

/** Bytes of bodies that are being read at a time. Beyond it, senders are asked to come again. */
const maxInFlight = 4 * maxBody;

/** Registered under its own prefix: its bodies are kept as the bytes that were signed. */
export async function intake(app: FastifyInstance, ctx: ServerContext): Promise<void> {
  const { db, keys, metrics, now, workflows } = ctx;
  const webhooks = new WeakMap<FastifyRequest, OpenWebhook>();
  let inFlight = 0;

  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer", bodyLimit: maxBody },
    (_request, body, done) => {
      done(null, body);
    },
  );

  // Before the body is read: who does not know a webhook's address makes the server keep nothing.
  const admit: onRequestAsyncHookHandler = async (request, reply) => {
    const { id } = request.params as { id: string };
    let held = 0;
    let gone = false;
    // Once it is answered, or the sender is gone, which may be while the webhook is looked up.
    reply.raw.once("close", () => {
      inFlight -= held;
      gone = true;
    });
    const webhook = await openWebhook(db, id, keys);
    if (webhook === undefined) {
      throw new UserError("there is no such webhook", {
        code: "not-found",
        fix: "Give the forge the address that was shown when the webhook was made.",
      });
    }
    const length = Number(request.headers["content-length"] ?? maxBody);
    if (inFlight + length > maxInFlight) {
      throw new ApiError("unavailable", "too many deliveries at once", { retryAfter: 5 });
    }
    if (!gone) held = length;
    inFlight += held;
    webhooks.set(request, webhook);
  };

  const options = { schema: { hide: true }, onRequest: admit };
  app.post<{ Body: Buffer | undefined }>("/webhooks/:id", options, async (request, reply) => {
    const webhook = webhooks.get(request);
    if (webhook === undefined) throw new Error("a delivery that was not admitted");
    // A request without a body has none that could be signed.
    const { body = Buffer.alloc(0), headers } = request;
    const forge = forges[webhook.forge];
    try {
      const key = forge.verify(body, headers, webhook.secrets, now().getTime());
      const events = forge.parse(body, headers);
      const stranger = events.find(({ repository }) => !inScope(webhook.scope, repository.url));
      if (stranger !== undefined) {
        throw new UserError(`the webhook is not for ${stranger.repository.name}`, {
          code: "permission",
          fix: "Make a webhook for that repository, or one for all of its owner's.",
        });
      }
      const isNew = await write(ctx, webhook.id, key, events);
      if (isNew) workflows.wake();
      const result = !isNew ? "known" : events.length === 0 ? "ignored" : "accepted";
      metrics.deliveries.inc({ forge: webhook.forge, result });
      return await reply.code(202).send({ events: isNew ? events.length : 0 });
    } catch (error) {
      if (error instanceof UserError) metrics.deliveries.inc({ forge: webhook.forge, result: "refused" });
      throw error;
    }
  });
}

/** False where the delivery was here before. What no pipeline runs for is kept as well: it shows that the forge reaches us. */
async function write(
  { db, workflows, now }: ServerContext,
  webhook: string,
  key: string,
  events: ForgeEvent[],
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const handled_at = events.length === 0 ? now() : null;
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto("webhook_deliveries")
      .values({ webhook, key, events: JSON.stringify(events), handled_at })
      .onConflict((conflict) => conflict.columns(["webhook", "key"]).doNothing())
      .executeTakeFirst();
    if (numInsertedOrUpdatedRows !== 1n) return false;
    if (events.length > 0) {
      const delivery = { webhook, key };
      const id = `${webhook}/${key}`;
      await workflows.start(trx, handleEvents, `${handleEvents.name}/${id}`, { key: id, events, delivery });
    }
    return true;
  });
}
