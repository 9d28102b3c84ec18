import { addRepository } from "@kws/api/repositories";
import { repositoryTable } from "../../../tables.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "register a git repository with the server",
  description:
    "Registers a git repository with the server, which fetches it and finds out what services its branch holds.",
  args: [
    { name: "name", description: "what it is called on the server", required: true },
    { name: "url", description: "where the server clones from", required: true },
  ],
  options: {
    branch: { type: "string", value: "name", description: "whose services count; main unless given" },
    team: { type: "string", value: "name", description: "whose it is; default unless given" },
  },
  examples: ["kws server repository add shop https://git.example.com/team/shop.git --branch main"],
  async run({ args: [name = "", url = ""], options: { branch, team } }, ctx) {
    const client = await serverClient(ctx);
    const added = await client.call(addRepository, { body: { name, url, branch, team } });
    return { data: added, table: repositoryTable([added], ctx.style) };
  },
});
