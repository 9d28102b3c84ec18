/** How and for whom files are encrypted, as the flags and variables of sops say it. */
import type { Key } from "@kws/sops/keys/key";
import { parseContext } from "@kws/sops/keyspec";
import { type Choices, namedKeys } from "@kws/platform/secrets/files";
import type { OptionSpec, OptionValues } from "./command.ts";
import type { Context } from "./context.ts";

/** Of AWS KMS keys. */
export const kmsOptions = {
  "aws-profile": {
    type: "string",
    value: "name",
    description: "the AWS profile of the KMS keys that are named here",
  },
  "encryption-context": {
    type: "string",
    value: "pairs",
    description: "encryption context of AWS KMS keys, name:value pairs separated by commas",
  },
} as const satisfies Record<string, OptionSpec>;

/** Of commands that may encrypt a file for the first time. */
export const sealingOptions = {
  age: { type: "string", value: "recipients", description: "age recipients [SOPS_AGE_RECIPIENTS]" },
  pgp: { type: "string", value: "fingerprints", description: "PGP keys [SOPS_PGP_FP]" },
  kms: { type: "string", value: "arns", description: "AWS KMS keys [SOPS_KMS_ARN]" },
  "gcp-kms": { type: "string", value: "ids", description: "GCP KMS keys [SOPS_GCP_KMS_IDS]" },
  "azure-kv": {
    type: "string",
    value: "urls",
    description: "Azure Key Vault keys [SOPS_AZURE_KEYVAULT_URLS]",
  },
  "hc-vault-transit": { type: "string", value: "urls", description: "keys of Vault [SOPS_VAULT_URIS]" },
  hckms: { type: "string", value: "ids", description: "Huawei Cloud KMS keys [SOPS_HUAWEICLOUD_KMS_IDS]" },
  ...kmsOptions,
  "shamir-secret-sharing-threshold": {
    type: "number",
    value: "count",
    min: 0,
    description: "how many of the rule's key groups are needed to decrypt",
  },
  "encrypted-suffix": {
    type: "string",
    value: "suffix",
    description: "encrypt values below keys that end with it",
  },
  "unencrypted-suffix": {
    type: "string",
    value: "suffix",
    description: "encrypt all but values below keys that end with it",
  },
  "encrypted-regex": { type: "string", value: "regex", description: "encrypt values below keys that match" },
  "unencrypted-regex": {
    type: "string",
    value: "regex",
    description: "encrypt all but values below keys that match",
  },
  "encrypted-comment-regex": {
    type: "string",
    value: "regex",
    description: "encrypt what follows comments that match",
  },
  "unencrypted-comment-regex": {
    type: "string",
    value: "regex",
    description: "encrypt all but what follows comments that match",
  },
  "mac-only-encrypted": { type: "boolean", description: "let the MAC cover encrypted values alone" },
} as const satisfies Record<string, OptionSpec>;

/** What `sealingOptions` and the variables of sops choose; what they leave open is for the creation rule. */
export function chosen(ctx: Context, options: OptionValues<typeof sealingOptions>): Choices {
  const { env } = ctx;
  const kms = kmsSettings(options);
  const texts = {
    age: options.age ?? env["SOPS_AGE_RECIPIENTS"],
    pgp: options.pgp ?? env["SOPS_PGP_FP"],
    kms: options.kms ?? env["SOPS_KMS_ARN"],
    gcp_kms: options["gcp-kms"] ?? env["SOPS_GCP_KMS_IDS"],
    azure_kv: options["azure-kv"] ?? env["SOPS_AZURE_KEYVAULT_URLS"],
    hc_vault: options["hc-vault-transit"] ?? env["SOPS_VAULT_URIS"],
    hckms: options.hckms ?? env["SOPS_HUAWEICLOUD_KMS_IDS"],
  };
  const selection = {
    encrypted_suffix: options["encrypted-suffix"],
    unencrypted_suffix: options["unencrypted-suffix"],
    encrypted_regex: options["encrypted-regex"],
    unencrypted_regex: options["unencrypted-regex"],
    encrypted_comment_regex: options["encrypted-comment-regex"],
    unencrypted_comment_regex: options["unencrypted-comment-regex"],
  };
  return {
    keys: namedKeys(texts, kms),
    shamirThreshold: options["shamir-secret-sharing-threshold"] || undefined,
    selection: Object.fromEntries(
      Object.entries(selection).filter(([, text]) => text !== undefined && text !== ""),
    ),
    macOnlyEncrypted: options["mac-only-encrypted"],
    context: kms.context,
  };
}

const changes = { add: "to add", rm: "to remove" } as const;

/** One flag for keys of each kind, to add and to remove. */
function changeOption(change: keyof typeof changes, what: string) {
  return { type: "string", value: "keys", description: `${what} ${changes[change]}` } as const;
}

export const keyChangeOptions = {
  "add-age": changeOption("add", "age recipients"),
  "rm-age": changeOption("rm", "age recipients"),
  "add-pgp": changeOption("add", "PGP fingerprints"),
  "rm-pgp": changeOption("rm", "PGP fingerprints"),
  "add-kms": changeOption("add", "ARNs of AWS KMS keys"),
  "rm-kms": changeOption("rm", "ARNs of AWS KMS keys"),
  "add-gcp-kms": changeOption("add", "resource IDs of GCP KMS keys"),
  "rm-gcp-kms": changeOption("rm", "resource IDs of GCP KMS keys"),
  "add-azure-kv": changeOption("add", "URLs of Azure Key Vault keys"),
  "rm-azure-kv": changeOption("rm", "URLs of Azure Key Vault keys"),
  "add-hc-vault-transit": changeOption("add", "URLs of keys of Vault"),
  "rm-hc-vault-transit": changeOption("rm", "URLs of keys of Vault"),
  "add-hckms": changeOption("add", "Huawei Cloud KMS keys"),
  "rm-hckms": changeOption("rm", "Huawei Cloud KMS keys"),
  ...kmsOptions,
} as const satisfies Record<string, OptionSpec>;

/** The keys that `keyChangeOptions` name. */
export function keyChanges(options: OptionValues<typeof keyChangeOptions>): { add: Key[]; remove: Key[] } {
  const keys = (change: keyof typeof changes) =>
    namedKeys(
      {
        age: options[`${change}-age`],
        pgp: options[`${change}-pgp`],
        kms: options[`${change}-kms`],
        gcp_kms: options[`${change}-gcp-kms`],
        azure_kv: options[`${change}-azure-kv`],
        hc_vault: options[`${change}-hc-vault-transit`],
        hckms: options[`${change}-hckms`],
      },
      kmsSettings(options),
    );
  return { add: keys("add"), remove: keys("rm") };
}

function kmsSettings(options: OptionValues<typeof kmsOptions>) {
  const context = options["encryption-context"];
  return {
    aws_profile: options["aws-profile"],
    context: context === undefined || context === "" ? undefined : parseContext(context),
  };
}
