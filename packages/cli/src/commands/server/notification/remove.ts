import { removeChannel } from "@kws/api/notifications";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "remove a channel; messages that wait for it are not sent",
  args: [{ name: "name", description: "what the channel is called on the server", required: true }],
  examples: ["kws server notification remove team"],
  async run({ args: [name = ""] }, ctx) {
    const client = await serverClient(ctx);
    const data = await client.call(removeChannel, { params: { name } });
    return { data, text: `Nothing is sent to ${name} any more.` };
  },
});
