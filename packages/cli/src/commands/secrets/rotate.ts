import { namedKeys } from "@kws/platform/secrets/files";
import { rotateFile } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import {
  changeFiles,
  configOption,
  filesArgument,
  ignoreMacOption,
  inPlaceOption,
  inputTypeOption,
} from "../../secrets.ts";

const keys = (verb: string, what: string) =>
  ({ type: "string", value: "keys", description: `${what} to ${verb}` }) as const;

export const command = defineCommand({
  summary: "encrypt files anew, under new data keys",
  description:
    "Gives files new data keys and encrypts all values anew. Who had an old data key can still read old versions of the file: " +
    "replace what it holds as well.",
  args: [filesArgument],
  options: {
    "in-place": inPlaceOption,
    "add-age": keys("add", "age recipients"),
    "rm-age": keys("remove", "age recipients"),
    "add-pgp": keys("add", "PGP fingerprints"),
    "rm-pgp": keys("remove", "PGP fingerprints"),
    "add-kms": keys("add", "ARNs of AWS KMS keys"),
    "rm-kms": keys("remove", "ARNs of AWS KMS keys"),
    "input-type": inputTypeOption,
    "ignore-mac": ignoreMacOption,
    config: configOption,
  },
  examples: ["kws secrets rotate --in-place chart/profiles/*/secrets.yaml"],
  async run({ args, options }, ctx) {
    const add = namedKeys({ age: options["add-age"], pgp: options["add-pgp"], kms: options["add-kms"] });
    const remove = namedKeys({ age: options["rm-age"], pgp: options["rm-pgp"], kms: options["rm-kms"] });
    return changeFiles(ctx, args, options, (file, tools) => rotateFile(file, tools, { add, remove }));
  },
});
