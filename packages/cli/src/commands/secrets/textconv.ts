import { describeEncrypted } from "@kws/platform/secrets/textconv";
import { defineCommand } from "../../command.ts";
import { fileArgument, readFileArgument } from "../../secrets.ts";

export const command = defineCommand({
  summary: "an encrypted file's keys, with a mark for each value, for git diff",
  description:
    "Prints an encrypted file with a mark in place of each value, which changes when the value does, and its recipients, so that " +
    "`git diff` tells which keys changed. No key is needed.",
  args: [fileArgument],
  examples: ["kws secrets textconv chart/profiles/qa/secrets.yaml"],
  async run({ args: [name = ""] }, ctx) {
    ctx.stdout.write(describeEncrypted(await readFileArgument(ctx, name, {})));
  },
});
