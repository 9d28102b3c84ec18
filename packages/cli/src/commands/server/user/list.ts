import { listUsers } from "@kws/api/users";
import { userTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "everybody who has signed in to the server",
  examples: ["kws server user list", "kws server user list -o json"],
  async run(_input, ctx) {
    const found = await Array.fromAsync((await serverClient(ctx)).all(listUsers));
    return { data: found, table: userTable(found) };
  },
});
