import { addChannel, type NewTarget } from "@kws/api/notifications";
import { forgeNames } from "@kws/api/webhooks";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../../../command.ts";
import type { Context } from "../../../context.ts";
import { givenText } from "../../../secrets.ts";
import { serverClient } from "../../../server.ts";

const kinds = ["slack", "webhook", "email", "status"] as const;

export const command = defineCommand({
  summary: "add a channel that people, programs or forges are told through",
  description:
    "`slack` and `webhook` read the channel's address from standard input, since whoever knows it can write there. `webhook` shows the " +
    "key that its messages are signed with. `status` shows on the forge, beside each commit, how its runs ended, and reads a token of " +
    "the forge from standard input.",
  args: [
    { name: "name", description: "what the channel is called on the server", required: true },
    { name: "kind", description: kinds.join(", "), required: true },
  ],
  options: {
    to: { type: "list", value: "address", description: "who gets e-mail" },
    forge: {
      type: "string",
      value: "forge",
      choices: forgeNames.filter((name) => name !== "git"),
      description: "whose commits get a status",
    },
    api: {
      type: "string",
      value: "url",
      description: "the forge's API, such as https://git.example.com/api/v1",
    },
    scope: {
      type: "string",
      value: "url",
      description: "the repository whose commits get a status, or all below it with `/*` at its end",
    },
    type: { type: "list", value: "type", description: "messages such as `run.failed`; `run.*` unless given" },
    template: {
      type: "string",
      value: "text",
      description: "the message, with {{service}} and others in it",
    },
  },
  examples: [
    "kws server notification add team slack --type run.failed < address.txt",
    "kws server notification add ops email --to ops@example.com",
    "kws server notification add commits status --forge gitea --api https://git.example.com/api/v1 --scope 'https://git.example.com/acme/*' < token.txt",
  ],
  async run({ args: [name = "", kind = ""], options }, ctx) {
    const target = await targetOf(kind, options, ctx);
    const client = await serverClient(ctx);
    const { type: types, template } = options;
    const data = await client.call(addChannel, { body: { name, target, types, template } });
    const told = `${name} gets ${data.types.join(", ")}.`;
    const secret =
      data.secret === undefined
        ? ""
        : `\nIts messages are signed with ${data.secret}, which is not shown again.`;
    return { data, text: `${told}${secret}` };
  },
});

interface Options {
  to?: string[];
  forge?: string;
  api?: string;
  scope?: string;
}

async function targetOf(kind: string, options: Options, ctx: Context): Promise<NewTarget> {
  switch (kind) {
    case "slack":
    case "webhook":
      return { kind, url: await givenText(ctx) };
    case "email":
      if (options.to === undefined) throw needs("--to");
      return { kind, to: options.to };
    case "status": {
      const forge = forgeNames.find((one) => one === options.forge);
      const { api, scope } = options;
      if (forge === undefined || forge === "git" || api === undefined || scope === undefined) {
        throw needs("--forge, --api and --scope");
      }
      return { kind, forge, api, scope, token: await givenText(ctx) };
    }
    default:
      throw new UserError(`"${kind}" is no kind of channel`, {
        code: "usage",
        fix: `Take ${kinds.join(", ")}.`,
      });
  }
}

function needs(options: string): UserError {
  return new UserError(`this kind of channel needs ${options}`, {
    code: "usage",
    fix: "See `kws server notification add --help`.",
  });
}
