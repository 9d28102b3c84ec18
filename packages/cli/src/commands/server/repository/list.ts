import { listRepositories, type Repository } from "@kws/api/repositories";
import { repositoryTable } from "../../../tables.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "the repositories that the server knows, with their services",
  examples: ["kws server repository list", "kws server repository list -o json"],
  async run(_input, ctx) {
    const client = await serverClient(ctx);
    const found: Repository[] = [];
    for await (const repository of client.all(listRepositories)) found.push(repository);
    return { data: found, table: repositoryTable(found, ctx.style) };
  },
});
