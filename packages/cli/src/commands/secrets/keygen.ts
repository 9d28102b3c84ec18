import { addIdentity } from "@kws/platform/secrets/identity";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "make an age identity of your own, and print its recipient",
  description:
    "Adds a new age identity to your own ones, sops/age/keys.txt in the folder of your settings, which only you can read, and " +
    "prints the recipient that belongs into .sops.yaml.",
  examples: ["kws secrets keygen"],
  async run(_input, ctx) {
    const data = await addIdentity(ctx);
    ctx.stderr.write(`The identity is in ${data.path}; keep a copy of it where nobody else can read it.\n`);
    return { data, text: data.recipient };
  },
});
