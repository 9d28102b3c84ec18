import { removeRepository } from "@kws/api/repositories";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "have the server forget a repository",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  examples: ["kws server repository remove shop"],
  async run({ args: [name = ""] }, ctx) {
    const client = await serverClient(ctx);
    const removed = await client.call(removeRepository, { params: { name } });
    return { data: removed, text: `The server has forgotten the repository ${name}.` };
  },
});
