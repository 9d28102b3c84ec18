/**
 * What differs between two versions of a configuration file, key by key. An encrypted file is compared as it stands, without
 * a key: SOPS keeps the ciphertext of values that did not change.
 */
import { isDeepStrictEqual } from "node:util";
import { type KeyPath, keyPath } from "../project/key-path.ts";
import { parseYaml } from "../project/yaml-file.ts";

export interface Change {
  /** As for Helm's `--set`: `config.port`, `hosts[0]`, `labels.example\.com/team`. */
  key: string;
  kind: "added" | "changed" | "removed";
  /** Undefined where there was none, and for what is encrypted. */
  from?: unknown;
  to?: unknown;
  /** Encrypted in one of the versions, or in a file of secrets. */
  secret: boolean;
}

export interface Comparison {
  changes: Change[];
  /** Every encrypted value has another ciphertext, because the data key is another: which values changed cannot be told. */
  reencrypted: boolean;
}

/** What differs between the plaintexts of two versions of an encrypted file: the keys alone. */
export function comparePlaintexts(before: unknown, after: unknown): Change[] {
  const [old, now] = [before, after].map((value) => {
    const leaves: Leaves = new Map();
    collect(value, [], leaves);
    return leaves;
  }) as [Leaves, Leaves];
  const differing = [...new Map([...now, ...old])].filter(
    ([id]) => !isDeepStrictEqual(old.get(id)?.value, now.get(id)?.value),
  );
  return differing.map(([id, { path }]) => ({
    key: keyPath(path),
    kind: !old.has(id) ? "added" : now.has(id) ? "changed" : "removed",
    secret: true,
  }));
}

type Leaves = Map<string, { path: KeyPath; value: unknown }>;

/**
 * Compares two versions of the file at `path`; undefined where the file was not there. Throws for what is not YAML. A file of
 * secrets keeps its values to itself also where somebody committed it in the clear.
 */
export function compare(path: string, before: string | undefined, after: string | undefined): Comparison {
  const old = parse(path, before);
  const now = parse(path, after);
  const secrets = /(^|\/)secrets\.[^/]+$/.test(path);
  const reencrypted =
    old.dataKeys.length > 0 &&
    now.dataKeys.length > 0 &&
    !old.dataKeys.some((key) => now.dataKeys.includes(key)) &&
    [...now.leaves].every(([key, { value }]) => !isEncrypted(value) || value !== old.leaves.get(key)?.value);
  const changes: Change[] = [];
  for (const [id, { path: keys, value }] of now.leaves) {
    const previous = old.leaves.get(id);
    const key = keyPath(keys);
    if (previous === undefined) changes.push(change(key, "added", undefined, value, secrets));
    else if (!isDeepStrictEqual(previous.value, value) && !(reencrypted && isEncrypted(value)))
      changes.push(change(key, "changed", previous.value, value, secrets));
  }
  for (const [id, { path: keys, value }] of old.leaves) {
    if (!now.leaves.has(id)) changes.push(change(keyPath(keys), "removed", value, undefined, secrets));
  }
  return { changes, reencrypted };
}

function change(key: string, kind: Change["kind"], from: unknown, to: unknown, secrets: boolean): Change {
  const secret = secrets || isEncrypted(from) || isEncrypted(to);
  return {
    key,
    kind,
    ...(secret || kind === "added" ? {} : { from }),
    ...(secret || kind === "removed" ? {} : { to }),
    secret,
  };
}

function isEncrypted(value: unknown): boolean {
  return typeof value === "string" && value.startsWith("ENC[AES256_GCM,");
}

function parse(path: string, text: string | undefined): { leaves: Leaves; dataKeys: string[] } {
  const leaves: Leaves = new Map();
  if (text === undefined) return { leaves, dataKeys: [] };
  const { value } = parseYaml(path, text);
  if (typeof value !== "object" || value === null) return { leaves, dataKeys: [] };
  const { sops, ...values } = value as Record<string, unknown>;
  const isBlock = typeof sops === "object" && sops !== null && "mac" in sops;
  collect(isBlock ? values : value, [], leaves);
  return { leaves, dataKeys: isBlock ? wrapped(sops) : [] };
}

/** Lists are compared item by item; an empty mapping or list is a value. */
function collect(value: unknown, path: KeyPath, into: Leaves): void {
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? [...value.entries()]
    : typeof value === "object" && value !== null
      ? Object.entries(value)
      : [];
  if (entries.length === 0 && path.length > 0) into.set(JSON.stringify(path), { path, value });
  for (const [key, inner] of entries) collect(inner, [...path, key], into);
}

/** The wrapped data keys of a `sops` block, wherever in it they stand. */
function wrapped(sops: unknown): string[] {
  if (typeof sops !== "object" || sops === null) return [];
  return Object.entries(sops).flatMap(([key, value]) =>
    key === "enc" && typeof value === "string" ? [value] : wrapped(value),
  );
}
