/** Forgets deliveries and messages that nobody asks for any more: once a day, on one of the servers. */
import { DBOS } from "@dbos-inc/dbos-sdk";
import type { ServerContext } from "../context.ts";
import { defineWorkflow, type Workflow } from "../workflows/workflow.ts";

const dayMs = 24 * 60 * 60_000;

export const pruneWebhooks: Workflow<null> = defineWorkflow<null>({
  name: "webhooks.prune",
  async run(ctx, _input, step) {
    await step("prune", () => prune(ctx));
    await DBOS.sleepms(dayMs);
    await step("again", () => beginPruning(ctx));
  },
});

/** However many servers start, there is one round a day. */
export async function beginPruning({ db, workflows, now }: ServerContext): Promise<void> {
  const day = now().toISOString().slice(0, 10);
  await db
    .transaction()
    .execute((trx) => workflows.start(trx, pruneWebhooks, `${pruneWebhooks.name}/${day}`, null));
}

async function prune({ db, config, now }: ServerContext): Promise<void> {
  const before = new Date(now().getTime() - config.webhookDays * dayMs);
  await db
    .deleteFrom("webhook_deliveries")
    .where("received_at", "<", before)
    .where("handled_at", "is not", null)
    .execute();
  await db
    .deleteFrom("notifications")
    .where("created_at", "<", before)
    .where("state", "<>", "waiting")
    .execute();
}
