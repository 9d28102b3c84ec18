import { addBinding } from "@kws/api/bindings";
import { UserError } from "@kws/base/errors";
import { bindingTable, roleArgument, roleNamed, scopeOf, scopeOptions } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "give a role to a user or a team",
  args: [roleArgument],
  options: {
    user: { type: "string", value: "subject", description: "a user, by the `sub` at the identity provider" },
    team: { type: "string", value: "name", description: "a team, as the identity provider names it" },
    ...scopeOptions,
  },
  examples: [
    "kws server binding add developer --team payments --service 'payments-*'",
    "kws server binding add admin --user 00u1a2b3c4",
  ],
  async run({ args: [role = ""], options }, ctx) {
    const { user, team } = options;
    if ((user === undefined) === (team === undefined)) {
      throw new UserError("either --user or --team is needed", {
        code: "usage",
        fix: "Say whose role it is.",
      });
    }
    const subject = { kind: user === undefined ? "team" : "user", name: user ?? team ?? "" } as const;
    const body = { subject, role: roleNamed(role), scope: scopeOf(options) };
    const added = await (await serverClient(ctx)).call(addBinding, { body });
    return { data: added, table: bindingTable([added]) };
  },
});
