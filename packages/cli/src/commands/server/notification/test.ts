import { testChannel } from "@kws/api/notifications";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "send one message through a channel now",
  args: [{ name: "name", description: "what the channel is called on the server", required: true }],
  examples: ["kws server notification test team"],
  async run({ args: [name = ""] }, ctx) {
    const client = await serverClient(ctx);
    const data = await client.call(testChannel, { params: { name } });
    if (data.result !== "sent") {
      throw new UserError(`the message was not taken: ${data.reason ?? data.result}`, {
        fix: "Mend what it says, or remove the channel and add it again.",
      });
    }
    return { data, text: `${name} took the message.` };
  },
});
