import { addWebhook, forgeNames } from "@kws/api/webhooks";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../../../command.ts";
import { givenText } from "../../../secrets.ts";
import { serverClient } from "../../../server.ts";
import { toldSecret, withEndpoint } from "../../../webhooks.ts";

export const command = defineCommand({
  summary: "make a webhook, for a forge to tell the server what happens in its repositories",
  description:
    "Makes an address for a forge to send to, and the secret that proves that it was the forge. Both are shown once: give them to the " +
    "forge. `git` is for plain repositories; see `kws server hook install`.",
  args: [
    { name: "name", description: "what it is called on the server", required: true },
    { name: "forge", description: `who sends: ${forgeNames.join(", ")}`, required: true },
    {
      name: "scope",
      description: "the address of one repository, or of all below it with `/*` at its end",
      required: true,
    },
  ],
  options: {
    "secret-stdin": {
      type: "boolean",
      description: "read a secret that the forge has made from standard input",
    },
  },
  examples: ["kws server webhook add acme github 'https://git.example.com/acme/*'"],
  async run({ args: [name = "", forge = "", scope = ""], options }, ctx) {
    const known = forgeNames.find((one) => one === forge);
    if (known === undefined) {
      throw new UserError(`"${forge}" is no forge`, { code: "usage", fix: `Take ${forgeNames.join(", ")}.` });
    }
    const client = await serverClient(ctx);
    const secret = options["secret-stdin"] === true ? await givenText(ctx) : undefined;
    const made = await client.call(addWebhook, { body: { name, forge: known, scope, secret } });
    const data = withEndpoint(client, made);
    return { data, text: toldSecret(data) };
  },
});
