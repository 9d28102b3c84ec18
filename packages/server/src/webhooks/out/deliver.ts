/**
 * Takes one message into one channel, as durable work: every attempt is a step whose outcome is kept, pauses outlive the server, and
 * the channel is read afresh each time, so that one that was removed is not written to any more.
 */
import type { BlockList } from "node:net";
import type { Kysely } from "kysely";
import type { WebhookTables } from "../tables.ts";
import { pauseAfter } from "./backoff.ts";
import { openChannel, type Target } from "./channels.ts";
import { emailOf, sendEmail, type SmtpServer } from "./email.ts";
import { mask } from "./mask.ts";
import type { Notification } from "./notification.ts";
import { type Outcome, send } from "./send.ts";
import { slackRequest } from "./slack.ts";
import { webhookRequest } from "./webhook.ts";

/** What a workflow's body may do; a journal keeps what it did. */
export interface Durable {
  /** Runs once, and after a crash answers what it answered before. */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
  sleep(ms: number): Promise<void>;
}

export interface DeliverOptions {
  database: Kysely<WebhookTables>;
  keys: readonly Uint8Array[];
  /** Private networks that may be sent to. */
  allowed: BlockList;
  smtp?: SmtpServer;
  timeoutMs: number;
  /** Secrets that are masked wherever a message has them. */
  secrets: readonly string[];
  now: () => number;
  random: () => number;
}

/** How it ended after all attempts. */
export type Delivery =
  | { result: "sent" | "removed"; attempts: number }
  | { result: "failed"; attempts: number; reason: string };

export async function deliver(
  channel: string,
  notification: Notification,
  durable: Durable,
  options: DeliverOptions,
): Promise<Delivery> {
  for (let attempts = 1; ; attempts++) {
    const outcome = await durable.step(`attempt ${attempts}`, () =>
      attempt(channel, attempts, notification, options),
    );
    if (outcome.result !== "unsent") return { result: outcome.result, attempts };
    if (outcome.pauseMs === undefined) return { result: "failed", attempts, reason: outcome.reason };
    await durable.sleep(outcome.pauseMs);
  }
}

type Attempt = { result: "sent" | "removed" } | { result: "unsent"; reason: string; pauseMs?: number };

/** Decides on the pause as well, since chance and clock are for steps alone. */
async function attempt(
  id: string,
  count: number,
  notification: Notification,
  options: DeliverOptions,
): Promise<Attempt> {
  const channel = await openChannel(options.database, id, options.keys);
  if (channel === undefined) return { result: "removed" };
  const outcome = await sendTo(
    channel.target,
    channel.template,
    masked(notification, options.secrets),
    options,
  );
  if (outcome.result === "sent") return outcome;
  const pauseMs =
    outcome.result === "retry" ? pauseAfter(count, options.random(), outcome.retryAfterMs) : undefined;
  return { result: "unsent", reason: outcome.reason, ...(pauseMs === undefined ? {} : { pauseMs }) };
}

async function sendTo(
  target: Target,
  template: string,
  notification: Notification,
  options: DeliverOptions,
): Promise<Outcome> {
  const { smtp, timeoutMs, now } = options;
  switch (target.kind) {
    case "slack":
      return send(slackRequest(target.url, notification, template), options, now);
    case "webhook":
      return send(webhookRequest(target.url, notification, target.secret, now()), options, now);
    case "email":
      if (smtp === undefined) return { result: "failed", reason: "the server has no SMTP server configured" };
      return sendEmail(smtp, emailOf(notification, target.to, template), notification.id, timeoutMs);
  }
}

function masked(notification: Notification, secrets: readonly string[]): Notification {
  const values = Object.entries(notification.values).map(([name, value]) => [name, mask(value, secrets)]);
  return { ...notification, values: Object.fromEntries(values) as Record<string, string> };
}
