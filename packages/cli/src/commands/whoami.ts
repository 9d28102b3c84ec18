import { getMe } from "@kws/api/me";
import { describeScope } from "../access.ts";
import { defineCommand } from "../command.ts";
import { findServer, serverClient } from "../server.ts";
import { printable } from "../style.ts";

export const command = defineCommand({
  summary: "who you are to the server, and what you may do there",
  examples: ["kws whoami", "kws whoami -o json"],
  async run(_input, ctx) {
    const { url } = await findServer(ctx);
    const me = await (await serverClient(ctx)).call(getMe);
    const teams = me.teams.length === 0 ? "" : `, of ${me.teams.map(printable).join(", ")}`;
    const grants = me.grants.map(({ role, scope }) => `  ${role} of ${describeScope(scope)}`);
    const may = grants.length === 0 ? ["  no role yet: ask an admin for one"] : grants;
    return {
      data: { server: url, ...me },
      text: [`${printable(me.name)}${teams} at ${url}`, ...may].join("\n"),
    };
  },
});
