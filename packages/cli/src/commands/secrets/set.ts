import { parseKeyPath } from "@kws/platform/project/key-path";
import { writeSecretFile } from "@kws/platform/secrets/files";
import { openFile, setValue } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import {
  changedResult,
  configOption,
  fileArgument,
  ignoreMacOption,
  inputTypeOption,
  keyArgument,
  openTools,
  readFileArgument,
  valueToSet,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "set one value of an encrypted file",
  description:
    "Sets a value to the text on standard input, without its last line break, or to the JSON that is given as an argument, " +
    "which others on this machine can see. All other values keep their ciphertext.",
  args: [
    fileArgument,
    keyArgument,
    { name: "value", description: "JSON, as for sops; rather use standard input" },
  ],
  options: {
    json: { type: "boolean", description: "standard input is JSON: a number, true, a list or a mapping" },
    "input-type": inputTypeOption,
    "ignore-mac": ignoreMacOption,
    config: configOption,
  },
  examples: [
    "pass show qa/token | kws secrets set chart/profiles/qa/secrets.yaml secrets.TOKEN",
    "kws secrets set secrets.yaml ports --json < ports.json",
  ],
  async run({ args: [name = "", key = "", value], options }, ctx) {
    const path = parseKeyPath(key);
    const tools = await openTools(ctx, options);
    const file = await readFileArgument(ctx, name, options);
    const opened = await openFile(file, tools);
    const content = setValue(opened, path, await valueToSet(ctx, value, options.json === true), tools);
    if (content !== undefined) await writeSecretFile(file.path, content);
    return changedResult([{ file: name, changed: content !== undefined }]);
  },
});
