import { changeUser } from "@kws/api/users";
import { userTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "end what a user is signed in with, and let them in no more",
  args: [{ name: "subject", description: "as `kws server user list` shows it", required: true }],
  examples: ["kws server user disable 00u1a2b3c4"],
  async run({ args: [subject = ""] }, ctx) {
    const client = await serverClient(ctx);
    const user = await client.call(changeUser, { params: { subject }, body: { disabled: true } });
    return { data: user, table: userTable([user]) };
  },
});
