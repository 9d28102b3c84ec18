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

/** The services by kind, made once per run: they read identities once and share connections. */
export type KeyServices = Record<KeyType, KeyService>;
