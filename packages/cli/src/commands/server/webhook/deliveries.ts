import { listWebhookDeliveries } from "@kws/api/webhooks";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";
import { printable } from "../../../style.ts";

export const command = defineCommand({
  summary: "what was sent to a webhook, and what became of it",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  options: {
    limit: {
      type: "number",
      value: "count",
      min: 1,
      max: 200,
      description: "the newest only; 20 unless given",
    },
  },
  examples: ["kws server webhook deliveries acme"],
  async run({ args: [name = ""], options: { limit = 20 } }, ctx) {
    const client = await serverClient(ctx);
    const { items } = await client.call(listWebhookDeliveries, { params: { name }, query: { limit } });
    return {
      data: items,
      table: {
        columns: ["RECEIVED", "EVENTS", "STATE"],
        rows: items.map(({ receivedAt, events, handledAt, problem }) => [
          receivedAt,
          printable(events.join(", ")),
          printable(problem ?? (handledAt === undefined ? "waiting" : "handled")),
        ]),
      },
    };
  },
});
