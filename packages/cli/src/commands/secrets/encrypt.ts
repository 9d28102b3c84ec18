import { encryptFile } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import { chosen, sealingOptions } from "../../sealing.ts";
import {
  changeFiles,
  configOption,
  filenameOption,
  filesArgument,
  formatNamed,
  inPlaceOption,
  inputTypeOption,
  outputTypeOption,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "encrypt files for the recipients of their creation rule",
  description:
    "Encrypts files as sops does, for the recipients that the creation rule of the nearest .sops.yaml names, or for those that " +
    "are named here. What of a file is encrypted is the rule's to say; flags win over it.",
  args: [filesArgument],
  options: {
    "in-place": inPlaceOption,
    ...sealingOptions,
    "input-type": inputTypeOption,
    "output-type": outputTypeOption,
    "filename-override": filenameOption,
    config: configOption,
  },
  examples: [
    "kws secrets encrypt --in-place chart/profiles/qa/secrets.yaml",
    "kws secrets encrypt --age age1… --encrypted-regex '^(password|token)$' plain.json > sealed.json",
    "vault-export | kws secrets encrypt --filename-override secrets.yaml - > secrets.yaml",
  ],
  async run({ args, options }, ctx) {
    const choices = chosen(ctx, options);
    const outputType = formatNamed(options["output-type"]);
    return changeFiles(ctx, args, options, (file, tools) => encryptFile(file, tools, choices, outputType));
  },
});
