/** What the API answers about channels and the messages in them. */
import { randomUUID } from "node:crypto";
import * as api from "@kws/api/notifications";
import { record } from "../../audit/record.ts";
import { endpoint, type Endpoint } from "../../http/handlers.ts";
import { cursorKey, cursorNumber, pageLimit, toPage } from "../../http/page.ts";
import { listOf } from "./addresses.ts";
import { createChannel, listChannels, noChannel, openChannel, removeChannel } from "./channels.ts";
import { networksOf, sendTo } from "./deliver.ts";

export const notificationEndpoints: readonly Endpoint[] = [
  endpoint(api.listChannels, async ({ query: { limit, cursor } }, { db, keys }) => {
    const after = cursor === undefined ? "" : cursorKey(cursor);
    const found = await listChannels(db, keys, after, pageLimit(limit));
    return toPage(
      found,
      limit,
      ({ name }) => name,
      (channel) => channel,
    );
  }),

  endpoint(api.addChannel, async ({ body, actor }, { config, db, keys }) =>
    db.transaction().execute(async (trx) => {
      const allowed = listOf(networksOf(config.allowedNetworks));
      const channel = await createChannel(trx, body, keys, allowed);
      const { name, kind, to, types } = channel;
      await record(trx, { actor, action: "channel.add", subject: name, after: { kind, to, types } });
      return channel;
    }),
  ),

  endpoint(api.removeChannel, async ({ params: { name }, actor }, { db, keys }) =>
    db.transaction().execute(async (trx) => {
      const channel = await removeChannel(trx, name, keys);
      const { kind, to, types } = channel;
      await record(trx, { actor, action: "channel.remove", subject: name, before: { kind, to, types } });
      return channel;
    }),
  ),

  endpoint(api.testChannel, async ({ params: { name }, actor, signal }, { config, db, keys, now }) => {
    const row = await db
      .selectFrom("notification_channels")
      .select(["id", "kind"])
      .where("name", "=", name)
      .executeTakeFirst();
    const channel = row === undefined ? undefined : await openChannel(db, row.id, keys);
    if (channel === undefined) throw noChannel(name);
    await db.transaction().execute((trx) => record(trx, { actor, action: "channel.test", subject: name }));
    const summary = "says that messages arrive here";
    const outcome = await sendTo({ config, now, signal }, channel.target, "{{service}} {{summary}}", {
      id: `msg_${randomUUID()}`,
      type: "channel.tested",
      time: now().toISOString(),
      outcome: "succeeded",
      values: { type: "channel.tested", outcome: "succeeded", service: "kws", summary },
    });
    return {
      channel: name,
      result: outcome.result,
      ...("reason" in outcome ? { reason: outcome.reason } : {}),
    };
  }),

  endpoint(api.listNotifications, async ({ query: { limit, cursor, channel, state } }, { db }) => {
    let rows = db
      .selectFrom("notifications")
      .innerJoin("notification_channels", "notification_channels.id", "notifications.channel")
      .selectAll("notifications")
      .select("notification_channels.name as channel_name")
      .orderBy("number", "desc")
      .limit(pageLimit(limit));
    if (channel !== undefined) rows = rows.where("notification_channels.name", "=", channel);
    if (state !== undefined) rows = rows.where("state", "=", state);
    if (cursor !== undefined) rows = rows.where("number", "<", cursorNumber(cursor));
    return toPage(
      await rows.execute(),
      limit,
      ({ number }) => number,
      ({ id, channel_name, type, state, attempts, reason, created_at, ended_at }) => ({
        id,
        channel: channel_name,
        type,
        state,
        attempts,
        createdAt: created_at.toISOString(),
        ...(reason === null ? {} : { reason }),
        ...(ended_at === null ? {} : { endedAt: ended_at.toISOString() }),
      }),
    );
  }),
];
