import { removeWebhook } from "@kws/api/webhooks";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";
import { withEndpoint } from "../../../webhooks.ts";

export const command = defineCommand({
  summary: "remove a webhook; what is sent to it is refused from then on",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  examples: ["kws server webhook remove acme"],
  async run({ args: [name = ""] }, ctx) {
    const client = await serverClient(ctx);
    const removed = await client.call(removeWebhook, { params: { name } });
    const data = withEndpoint(client, removed);
    return { data, text: `Nothing is taken at ${data.endpoint} any more.` };
  },
});
