import { parseKeyPath } from "@kws/platform/project/key-path";
import { writeSecretFile } from "@kws/platform/secrets/files";
import { openFile, unsetValue } from "@kws/platform/secrets/operations";
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
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "remove one value of an encrypted file",
  args: [fileArgument, keyArgument],
  options: { "input-type": inputTypeOption, "ignore-mac": ignoreMacOption, config: configOption },
  examples: ["kws secrets unset chart/profiles/qa/secrets.yaml secrets.TOKEN"],
  async run({ args: [name = "", key = ""], options }, ctx) {
    const path = parseKeyPath(key);
    const tools = await openTools(ctx, options);
    const file = await readFileArgument(ctx, name, options);
    const opened = await openFile(file, tools);
    await writeSecretFile(file.path, unsetValue(opened, path, tools));
    return changedResult([{ file: name, changed: true }]);
  },
});
