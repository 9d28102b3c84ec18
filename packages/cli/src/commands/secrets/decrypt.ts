import { parseKeyPath } from "@kws/platform/project/key-path";
import { extract, openFile, plaintext, plainValues } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import {
  configOption,
  filenameOption,
  fileArgument,
  formatNamed,
  ignoreMacOption,
  inputTypeOption,
  openTools,
  outputTypeOption,
  readInput,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "print what an encrypted file says",
  description: "Decrypts a file in memory, checks its MAC, and prints it. Nothing is written to a disk.",
  args: [fileArgument],
  options: {
    extract: { type: "string", value: "key", description: "only the value of this key" },
    "input-type": inputTypeOption,
    "output-type": outputTypeOption,
    "filename-override": filenameOption,
    "ignore-mac": ignoreMacOption,
    config: configOption,
  },
  examples: [
    "kws secrets decrypt chart/profiles/qa/secrets.yaml",
    "kws secrets decrypt secrets.yaml --extract secrets.TOKEN",
    "kws secrets decrypt secrets.yaml --output-type dotenv",
  ],
  async run({ args: [name = ""], options }, ctx) {
    const opened = await openFile(await readInput(ctx, name, options), await openTools(ctx, options));
    const { extract: key } = options;
    const one = key === undefined ? undefined : extract(opened, parseKeyPath(key));
    const isData = ctx.globals.output === "json" || ctx.globals.output === "yaml";
    if (isData) return { data: one === undefined ? plainValues(opened) : one.value };
    ctx.stdout.write(one?.text ?? plaintext(opened, formatNamed(options["output-type"])));
    return {};
  },
});
