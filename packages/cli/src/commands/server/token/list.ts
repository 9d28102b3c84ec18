import { listTokens } from "@kws/api/tokens";
import { tokenTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "the tokens of the server, without what they are",
  options: {
    kind: {
      type: "string",
      value: "kind",
      choices: ["service", "login", "session"],
      description: "service tokens, logins of the command line, or sessions of browsers",
    },
  },
  examples: ["kws server token list", "kws server token list --kind service -o json"],
  async run({ options: { kind } }, ctx) {
    const client = await serverClient(ctx);
    const query = kind === undefined ? {} : { kind: kind as "service" | "login" | "session" };
    const found = await Array.fromAsync(client.all(listTokens, { query }));
    return { data: found, table: tokenTable(found) };
  },
});
