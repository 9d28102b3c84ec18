import { createToken } from "@kws/api/tokens";
import { roleNamed, scopeOf, scopeOptions } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

const day = 86_400_000;

export const command = defineCommand({
  summary: "make a service token, for CI and other programs",
  description:
    "Makes a token with a role, and prints it this once: the server keeps its hash alone. It may never do more than you may, and ends " +
    "with you.",
  args: [{ name: "name", description: "what it is for", required: true }],
  options: {
    role: { type: "string", value: "role", description: "viewer unless given; developer, operator, admin" },
    expires: { type: "duration", value: "duration", description: "how long it counts; 90d unless given" },
    ...scopeOptions,
  },
  examples: ["kws server token create ci --role developer --service 'web-*' --expires 30d"],
  async run({ args: [name = ""], options }, ctx) {
    const { role = "viewer", expires = 90 * day } = options;
    const client = await serverClient(ctx);
    const made = await client.call(createToken, {
      body: { name, role: roleNamed(role), scope: scopeOf(options), expiresInDays: expires / day },
    });
    if (!ctx.quiet) ctx.stderr.write(`It is shown this once, and counts until ${made.expiresAt}.\n`);
    return { data: made, text: made.token };
  },
});
