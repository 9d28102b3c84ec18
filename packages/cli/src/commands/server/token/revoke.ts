import { revokeToken } from "@kws/api/tokens";
import { tokenTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "end a token",
  args: [{ name: "id", description: "as `kws server token list` shows it", required: true }],
  examples: ["kws server token revoke 6sVq0PpXbT1a"],
  async run({ args: [id = ""] }, ctx) {
    const revoked = await (await serverClient(ctx)).call(revokeToken, { params: { id } });
    return { data: revoked, table: tokenTable([revoked]) };
  },
});
