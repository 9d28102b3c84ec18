import { syncRepository } from "@kws/api/repositories";
import { repositoryTable } from "../../../tables.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "have the server fetch a repository now",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  examples: ["kws server repository sync shop"],
  async run({ args: [name = ""] }, ctx) {
    const client = await serverClient(ctx);
    const synced = await client.call(syncRepository, { params: { name } });
    return { data: synced, table: repositoryTable([synced], ctx.style) };
  },
});
