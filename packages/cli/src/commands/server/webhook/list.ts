import { listWebhooks } from "@kws/api/webhooks";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";
import { withEndpoint } from "../../../webhooks.ts";

export const command = defineCommand({
  summary: "the webhooks of the server, and when each was last used",
  examples: ["kws server webhook list"],
  async run(_input, ctx) {
    const client = await serverClient(ctx);
    const found = await Array.fromAsync(client.all(listWebhooks));
    const data = found.map((webhook) => withEndpoint(client, webhook));
    return {
      data,
      table: {
        columns: ["NAME", "FORGE", "SCOPE", "ENDPOINT", "LAST DELIVERY"],
        rows: data.map(({ name, forge, scope, endpoint, lastDeliveryAt = "never" }) => [
          name,
          forge,
          scope,
          endpoint,
          lastDeliveryAt,
        ]),
      },
    };
  },
});
