/**
 * Takes one message into one channel, as durable work: every attempt is a step whose outcome is kept, pauses outlive the server, and
 * the channel is read afresh each time, so that one that was removed is not written to any more.
 */
import { DBOS } from "@dbos-inc/dbos-sdk";
import type { Target } from "@kws/api/notifications";
import { publicAddress } from "@kws/platform/project/git";
import type { ServerContext } from "../../context.ts";
import { persist } from "../../runs/persist.ts";
import { defineWorkflow } from "../../workflows/workflow.ts";
import { listOf } from "./addresses.ts";
import { pauseAfter } from "./backoff.ts";
import { openChannel } from "./channels.ts";
import { emailOf, parseSmtp, sendEmail } from "./email.ts";
import type { Notification } from "./notification.ts";
import { type Outcome, send } from "./send.ts";
import { slackRequest } from "./slack.ts";
import { statuses } from "./statuses/statuses.ts";
import { render } from "./template.ts";
import { webhookRequest } from "./webhook.ts";

export interface SendInput {
  channel: string;
  notification: Notification;
}

/** Of one attempt. */
const timeoutMs = 15_000;
/** As many at a time as wait for others' servers without using up this one's memory. */
const together = 32;

export const sendNotification = defineWorkflow<SendInput>({
  name: "notification.send",
  together,
  async run(ctx, { channel, notification }, step) {
    for (let count = 1; ; count++) {
      const pauseMs = await step(`attempt ${count}`, () => attempt(ctx, channel, notification, count));
      if (pauseMs === null) return;
      await DBOS.sleepms(pauseMs);
    }
  },
});

/** How long to wait for the next one, since chance and clock are for steps alone; null where there is none. */
async function attempt(
  ctx: ServerContext,
  id: string,
  notification: Notification,
  count: number,
): Promise<number | null> {
  const channel = await persist(ctx, (trx) => openChannel(trx, id, ctx.keys));
  if (channel === undefined) return null;
  const { target, template } = channel;
  const outcome = await sendTo(ctx, target, template, notification);
  ctx.metrics.notifications.inc({ kind: target.kind, result: outcome.result });
  const pauseMs =
    outcome.result === "retry" ? pauseAfter(count, Math.random(), outcome.retryAfterMs) : undefined;
  const state = outcome.result === "sent" ? "sent" : pauseMs === undefined ? "failed" : "waiting";
  await persist(ctx, (trx) =>
    trx
      .updateTable("notifications")
      .set({
        state,
        attempts: count,
        reason: outcome.result === "sent" ? null : outcome.reason,
        ended_at: state === "waiting" ? null : ctx.now(),
      })
      .where("channel", "=", id)
      .where("id", "=", notification.id)
      .execute(),
  );
  return pauseMs ?? null;
}

/** Once, in the channel's own form. */
export async function sendTo(
  { config, now, signal }: Pick<ServerContext, "config" | "now" | "signal">,
  target: Target,
  template: string,
  notification: Notification,
): Promise<Outcome> {
  const options = { allowed: listOf(networksOf(config.allowedNetworks)), timeoutMs, signal };
  const time = () => now().getTime();
  switch (target.kind) {
    case "slack":
      return send(slackRequest(target.url, notification, template), options, time);
    case "webhook":
      return send(webhookRequest(target.url, notification, target.secret, time()), options, time);
    case "status": {
      const { values, outcome, repositoryUrl = "", url } = notification;
      const { service = "", commit = "" } = values;
      const status = {
        // As the forge spells it: what stands behind the host.
        repository: new URL(publicAddress(repositoryUrl) ?? "https://none").pathname.slice(1),
        commit,
        outcome,
        context: `kws/${service}`,
        description: render(template, values, (value) => value),
        ...(url === undefined ? {} : { url }),
      };
      return send(statuses[target.forge](status, target), options, time);
    }
    case "email":
      if (config.smtpUrl === undefined) {
        return { result: "failed", reason: "the server has no SMTP server: set KWS_SERVER_SMTP_URL" };
      }
      return sendEmail(
        parseSmtp(config.smtpUrl, config.smtpFrom),
        emailOf(notification, target.to, template),
        notification.id,
        timeoutMs,
      );
  }
}

/** As in the configuration, with commas between them. */
export function networksOf(text: string): string[] {
  return text
    .split(",")
    .map((network) => network.trim())
    .filter((network) => network !== "");
}
