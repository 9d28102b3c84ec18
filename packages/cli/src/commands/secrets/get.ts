import { parseKeyPath } from "@kws/platform/project/key-path";
import { extract, openFile } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import {
  configOption,
  fileArgument,
  ignoreMacOption,
  inputTypeOption,
  keyArgument,
  openTools,
  readInput,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "print one value of an encrypted file",
  description: "Prints one value as it is, without a line break; a mapping in the file's format.",
  args: [fileArgument, keyArgument],
  options: { "input-type": inputTypeOption, "ignore-mac": ignoreMacOption, config: configOption },
  examples: ["kws secrets get chart/profiles/qa/secrets.yaml secrets.TOKEN"],
  async run({ args: [name = "", key = ""], options }, ctx) {
    const path = parseKeyPath(key);
    const opened = await openFile(await readInput(ctx, name, options), await openTools(ctx, options));
    const { text, value } = extract(opened, path);
    if (ctx.globals.output === "json" || ctx.globals.output === "yaml") return { data: value };
    ctx.stdout.write(text);
    return {};
  },
});
