import { changeUser } from "@kws/api/users";
import { userTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "let a disabled user in again",
  args: [{ name: "subject", description: "as `kws server user list` shows it", required: true }],
  examples: ["kws server user enable 00u1a2b3c4"],
  async run({ args: [subject = ""] }, ctx) {
    const client = await serverClient(ctx);
    const user = await client.call(changeUser, { params: { subject }, body: { disabled: false } });
    return { data: user, table: userTable([user]) };
  },
});
