/**
 * What wraps a file's data key: one entry of a key group, and the service that can wrap and unwrap with it. The format of
 * the entries is that of a file's `sops` block; nothing here knows how a file is laid out.
 */

/** A key without the data key that it wraps, as a creation rule or `--add-age` names it. */
export type Key =
  /** An X25519 recipient (`age1…`), a hybrid one (`age1pq1…`) or an SSH public key (`ssh-ed25519 …`, `ssh-rsa …`). */
  | { type: "age"; recipient: string }
  /** A fingerprint of 40 hexadecimal digits, upper case. */
  | { type: "pgp"; fp: string }
  | { type: "kms"; arn: string; role?: string; context?: Record<string, string>; aws_profile?: string }
  | { type: "gcp_kms"; resource_id: string }
  | { type: "azure_kv"; vault_url: string; name: string; version: string }
  | { type: "hc_vault"; vault_address: string; engine_path: string; key_name: string }
  | { type: "hckms"; key_id: string };

export type KeyType = Key["type"];

export type KeyOf<T extends KeyType> = Extract<Key, { type: T }>;

/** A key with the data key, or one share of it, that it wraps. */
export interface WrappedKey {
  key: Key;
  /** As the file holds it: armored age or PGP, base64 of a KMS. */
  enc: string;
  /** RFC 3339; age entries have none. */
  created_at?: string;
}

/** Any one key of a group opens the group's part. */
export type KeyGroup = WrappedKey[];

export interface KeyCall {
  signal?: AbortSignal;
}

/** One kind of key. Errors are `SopsError`s that name the key and say what to do. */
export interface KeyService {
  wrap(key: Key, data: Uint8Array, call: KeyCall): Promise<WrappedKey>;
  unwrap(wrapped: WrappedKey, call: KeyCall): Promise<Uint8Array>;
}

/** What services take from the machine, read by the program's entry and handed down. */
export interface KeyWorld {
  /** Names identities and credentials (`SOPS_AGE_KEY_FILE`, `GNUPGHOME`, `AWS_PROFILE`), and is what programs are run with. */
  env: NodeJS.ProcessEnv;
  /** The user's home. */
  home: string;
  /** What relative paths in the environment are relative to. */
  cwd: string;
  /** Milliseconds since the epoch, for `created_at`. */
  clock: () => number;
}

/** The services by kind, made once per run: they read identities once and share connections. */
export type KeyServices = Record<KeyType, KeyService>;

/** The time as sops writes it in `created_at`, in whole seconds. */
export function createdAt(world: KeyWorld): string {
  return new Date(world.clock()).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The key in a few printable words, for messages: files may hold anything in its place. */
export function describeKey(key: Key): string {
  return `${kindNames[key.type]} ${printable(identifierOf(key))}`;
}

const kindNames: Record<KeyType, string> = {
  age: "age recipient",
  pgp: "PGP key",
  kms: "AWS KMS key",
  gcp_kms: "GCP KMS key",
  azure_kv: "Azure Key Vault key",
  hc_vault: "Vault key",
  hckms: "Huawei Cloud KMS key",
};

function identifierOf(key: Key): string {
  switch (key.type) {
    case "age":
      return key.recipient;
    case "pgp":
      return key.fp;
    case "kms":
      return key.arn;
    case "gcp_kms":
      return key.resource_id;
    case "azure_kv":
      return `${key.vault_url}/keys/${key.name}/${key.version}`;
    case "hc_vault":
      return `${key.vault_address}/v1/${key.engine_path}/keys/${key.key_name}`;
    case "hckms":
      return key.key_id;
  }
}

/** At most 100 characters of a text that others wrote, without control characters. */
export function printable(text: string): string {
  const clean = text.replaceAll(/\p{Cc}+/gu, " ").trim();
  return clean.length > 100 ? `${clean.slice(0, 99)}…` : clean;
}

/** The key as one of the kind that a service is for. */
export function keyOf<T extends KeyType>(type: T, key: Key): KeyOf<T> {
  if (!isOfType(type, key)) throw new TypeError(`a ${key.type} key was given to the service of ${type} keys`);
  return key;
}

function isOfType<T extends KeyType>(type: T, key: Key): key is KeyOf<T> {
  return key.type === type;
}
