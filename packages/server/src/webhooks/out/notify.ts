/** Telling people and programs: a message goes into every channel that asks for its type, each with its own attempts. */
import { masked } from "@kws/platform/pipeline/masks";
import type { Transaction } from "kysely";
import type { ServerContext } from "../../context.ts";
import type { Tables } from "../../database/schema.ts";
import { channelsFor } from "./channels.ts";
import { sendNotification } from "./deliver.ts";
import type { Notification } from "./notification.ts";

/**
 * Part of the transaction of what it tells of: once it is committed, the message is sent, however soon the server ends; call `wake` of
 * the workflows then. A message of an id that was there before is not sent again. `secrets` are masked before anything is written
 * down.
 */
export async function notify(
  { workflows, keys }: Pick<ServerContext, "workflows" | "keys">,
  trx: Transaction<Tables>,
  notification: Notification,
  secrets: readonly string[],
): Promise<void> {
  const values = Object.entries(notification.values).map(([name, value]) => [name, masked(secrets, value)]);
  const message = { ...notification, values: Object.fromEntries(values) as Record<string, string> };
  const { id, type } = notification;
  for (const channel of await channelsFor(trx, notification, keys)) {
    await trx
      .insertInto("notifications")
      .values({ channel, id, type })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    await workflows.start(trx, sendNotification, `${sendNotification.name}/${channel}/${id}`, {
      channel,
      notification: message,
    });
  }
}
