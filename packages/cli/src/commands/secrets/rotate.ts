import { rotateFile } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import { keyChangeOptions, keyChanges } from "../../sealing.ts";
import {
  changeFiles,
  configOption,
  filenameOption,
  filesArgument,
  formatNamed,
  ignoreMacOption,
  inPlaceOption,
  inputTypeOption,
  outputTypeOption,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "encrypt files anew, under new data keys",
  description:
    "Gives files new data keys and encrypts all values anew. Who had an old data key can still read old versions of the file: " +
    "replace what it holds as well.",
  args: [filesArgument],
  options: {
    "in-place": inPlaceOption,
    ...keyChangeOptions,
    "input-type": inputTypeOption,
    "output-type": outputTypeOption,
    "filename-override": filenameOption,
    "ignore-mac": ignoreMacOption,
    config: configOption,
  },
  examples: ["kws secrets rotate --in-place chart/profiles/*/secrets.yaml"],
  async run({ args, options }, ctx) {
    const changes = keyChanges(options);
    const outputType = formatNamed(options["output-type"]);
    return changeFiles(ctx, args, options, (file, tools) => rotateFile(file, tools, changes, outputType));
  },
});
