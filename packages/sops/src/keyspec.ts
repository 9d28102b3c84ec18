/** Keys as people write them in `.sops.yaml` and on command lines: one text for each. */
import { SopsError } from "./errors.ts";
import type { Key, KeyType } from "./keys/key.ts";

export interface KeySpecOptions {
  /** Of AWS KMS keys. */
  aws_profile?: string | undefined;
  context?: Record<string, string> | undefined;
  /** Where the text stands. */
  at?: string;
}

/** Reads one key. The texts are those that sops takes: an age recipient, a fingerprint, an ARN with `+role`, a URL. */
export function parseKey(type: KeyType, spec: string, options: KeySpecOptions = {}): Key {
  const text = type === "age" ? spec.trim() : spec.replace(/\s/g, "");
  const refuse = (expected: string): never => {
    throw new SopsError("errorReadingConfig", `${JSON.stringify(text)} is no ${expected}`, {
      code: "config",
      at: options.at,
    });
  };
  switch (type) {
    case "age":
      return text === "" ? refuse("age recipient") : { type, recipient: text };
    case "pgp":
      if (!/^(0x)?[0-9a-fA-F]{8,40}!?$/.test(text)) return refuse("PGP fingerprint");
      return { type, fp: text };
    case "kms": {
      const role = text.indexOf("+arn:");
      const arn = role === -1 ? text : text.slice(0, role);
      if (!/^arn:[\w-]+:kms:[\w-]+:\d+:(key|alias)\/.+$/.test(arn)) return refuse("ARN of an AWS KMS key");
      return {
        type,
        arn,
        ...(role === -1 ? {} : { role: text.slice(role + 1) }),
        ...(options.context === undefined ? {} : { context: options.context }),
        ...(options.aws_profile ? { aws_profile: options.aws_profile } : {}),
      };
    }
    case "gcp_kms":
      if (!/^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/.+$/.test(text)) {
        return refuse("resource ID of a GCP KMS key");
      }
      return { type, resource_id: text };
    case "azure_kv": {
      const match = /^(https:\/\/[^/]+)\/keys\/([^/]+)(?:\/([^/]*))?$/.exec(text);
      if (match === null) return refuse("URL of an Azure Key Vault key");
      return { type, vault_url: match[1]!, name: match[2]!, version: match[3] ?? "" };
    }
    case "hc_vault": {
      const match = /^(https?:\/\/[^/]+(?:\/.*)?)\/v1\/(.+)\/keys\/([^/]+)\/?$/.exec(text);
      if (match === null) return refuse("URL of a key in Vault's transit engine");
      return { type, vault_address: match[1]!, engine_path: match[2]!, key_name: match[3]! };
    }
    case "hckms":
      return /^[\w-]+:[\w-]+$/.test(text)
        ? { type, key_id: text }
        : refuse("Huawei Cloud KMS key, region:id");
  }
}

/** Reads the encryption context of AWS KMS keys, `name:value` pairs separated by commas. */
export function parseContext(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.split(":"));
  if (pairs.every((pair) => pair.length === 2)) return Object.fromEntries(pairs) as Record<string, string>;
  throw new SopsError("invalidEncryptionContext", `${JSON.stringify(text)} is no encryption context`, {
    code: "usage",
    fix: "Write name:value pairs, separated by commas.",
  });
}

/** Reads several, separated by commas. */
export function parseKeys(type: KeyType, specs: string, options: KeySpecOptions = {}): Key[] {
  return specs
    .split(",")
    .filter((spec) => spec.trim() !== "")
    .map((spec) => parseKey(type, spec, options));
}

/** A key as a text by which it can be compared. */
export function keyId(key: Key): string {
  const given = Object.entries(key).filter(([, value]) => value !== undefined && value !== "");
  return JSON.stringify(given.sort(([a], [b]) => (a < b ? -1 : 1)));
}
