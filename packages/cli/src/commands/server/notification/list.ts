import { listChannels } from "@kws/api/notifications";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "the channels that messages go into",
  examples: ["kws server notification list"],
  async run(_input, ctx) {
    const client = await serverClient(ctx);
    const data = await Array.fromAsync(client.all(listChannels));
    return {
      data,
      table: {
        columns: ["NAME", "KIND", "TO", "MESSAGES"],
        rows: data.map(({ name, kind, to, types }) => [name, kind, to, types.join(", ")]),
      },
    };
  },
});
