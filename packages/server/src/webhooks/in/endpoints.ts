/** What the API answers about webhooks. */
import * as api from "@kws/api/webhooks";
import type { Selectable } from "kysely";
import { record } from "../../audit/record.ts";
import type { Tables } from "../../database/schema.ts";
import { endpoint, type Endpoint } from "../../http/handlers.ts";
import { cursorKey, cursorNumber, pageLimit, toPage } from "../../http/page.ts";
import type { ForgeEvent } from "./event.ts";
import { createWebhook, listWebhooks, noWebhook, removeWebhook, rotateSecret } from "./webhooks.ts";

export const webhookEndpoints: readonly Endpoint[] = [
  endpoint(api.listWebhooks, async ({ query: { limit, cursor } }, { db }) => {
    const after = cursor === undefined ? "" : cursorKey(cursor);
    const found = await listWebhooks(db, after, pageLimit(limit));
    return toPage(
      found,
      limit,
      ({ name }) => name,
      (webhook) => webhook,
    );
  }),

  endpoint(api.addWebhook, async ({ body, actor }, { db, keys }) =>
    db.transaction().execute(async (trx) => {
      const { webhook, secret } = await createWebhook(trx, body, keys);
      const { name, forge, scope } = webhook;
      await record(trx, { actor, action: "webhook.add", subject: name, after: { forge, scope } });
      return { ...webhook, secret };
    }),
  ),

  endpoint(api.rotateWebhook, async ({ params: { name }, body, actor }, { db, keys }) =>
    db.transaction().execute(async (trx) => {
      const { webhook, secret } = await rotateSecret(trx, name, keys, body.secret);
      await record(trx, { actor, action: "webhook.rotate", subject: name });
      return { ...webhook, secret };
    }),
  ),

  endpoint(api.removeWebhook, async ({ params: { name }, actor }, { db }) =>
    db.transaction().execute(async (trx) => {
      const webhook = await removeWebhook(trx, name);
      const { forge, scope } = webhook;
      await record(trx, { actor, action: "webhook.remove", subject: name, before: { forge, scope } });
      return webhook;
    }),
  ),

  endpoint(api.listWebhookDeliveries, async ({ params: { name }, query: { limit, cursor } }, { db }) => {
    const webhook = await db.selectFrom("webhooks").select("id").where("name", "=", name).executeTakeFirst();
    if (webhook === undefined) throw noWebhook(name);
    let rows = db
      .selectFrom("webhook_deliveries")
      .selectAll()
      .where("webhook", "=", webhook.id)
      .orderBy("number", "desc")
      .limit(pageLimit(limit));
    if (cursor !== undefined) rows = rows.where("number", "<", cursorNumber(cursor));
    return toPage(await rows.execute(), limit, ({ number }) => number, toDelivery);
  }),
];

function toDelivery({
  key,
  received_at,
  events,
  handled_at,
  problem,
}: Selectable<Tables["webhook_deliveries"]>): api.WebhookDelivery {
  return {
    key,
    receivedAt: received_at.toISOString(),
    events: events.map(shortly),
    ...(handled_at === null ? {} : { handledAt: handled_at.toISOString() }),
    ...(problem === null ? {} : { problem }),
  };
}

function shortly(event: ForgeEvent): string {
  switch (event.type) {
    case "push":
      return `push ${event.branch}`;
    case "tag":
      return `tag ${event.tag}`;
    case "pull-request":
      return `pull-request ${event.number}`;
  }
}
