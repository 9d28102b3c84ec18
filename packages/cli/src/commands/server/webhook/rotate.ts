import { rotateWebhook } from "@kws/api/webhooks";
import { defineCommand } from "../../../command.ts";
import { givenText } from "../../../secrets.ts";
import { serverClient } from "../../../server.ts";
import { toldSecret, withEndpoint } from "../../../webhooks.ts";

export const command = defineCommand({
  summary: "give a webhook another secret",
  description:
    "Makes another secret, which is taken beside the newest of those before: the forge can be given it without a delivery being refused.",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  options: {
    "secret-stdin": {
      type: "boolean",
      description: "read a secret that the forge has made from standard input",
    },
  },
  examples: ["kws server webhook rotate acme"],
  async run({ args: [name = ""], options }, ctx) {
    const client = await serverClient(ctx);
    const secret = options["secret-stdin"] === true ? await givenText(ctx) : undefined;
    const made = await client.call(rotateWebhook, { params: { name }, body: { secret } });
    const data = withEndpoint(client, made);
    return { data, text: toldSecret(data) };
  },
});
