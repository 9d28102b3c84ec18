import { namedKeys } from "@kws/platform/secrets/files";
import { encryptFile } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import { changeFiles, configOption, filesArgument, inPlaceOption, inputTypeOption } from "../../secrets.ts";

export const command = defineCommand({
  summary: "encrypt files for the recipients of their creation rule",
  description:
    "Encrypts files as sops does, for the recipients that the creation rule of the nearest .sops.yaml names, or for those that " +
    "are named here. What of a file is encrypted is the rule's to say.",
  args: [filesArgument],
  options: {
    "in-place": inPlaceOption,
    age: { type: "string", value: "recipients", description: "age recipients [SOPS_AGE_RECIPIENTS]" },
    pgp: { type: "string", value: "fingerprints", description: "PGP keys [SOPS_PGP_FP]" },
    kms: { type: "string", value: "arns", description: "AWS KMS keys [SOPS_KMS_ARN]" },
    "input-type": inputTypeOption,
    config: configOption,
  },
  examples: [
    "kws secrets encrypt --in-place chart/profiles/qa/secrets.yaml",
    "kws secrets encrypt --age age1… plain.json > sealed.json",
  ],
  async run({ args, options }, ctx) {
    const { age, pgp, kms } = options;
    const keys = namedKeys({
      age: age ?? ctx.env["SOPS_AGE_RECIPIENTS"],
      pgp: pgp ?? ctx.env["SOPS_PGP_FP"],
      kms: kms ?? ctx.env["SOPS_KMS_ARN"],
    });
    return changeFiles(ctx, args, options, (file, tools) => encryptFile(file, tools, keys));
  },
});
