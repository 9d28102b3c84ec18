/**
 * A file's `sops` block: the keys that wrap its data key, the rule, and the MAC. Read in every variant that sops ever wrote,
 * written as sops 3.13 does: keys sorted, empty lists left out.
 */
import type { KeyGroup, KeyType, WrappedKey } from "./keys/key.ts";
import { SopsError } from "./errors.ts";
import { formatPlace } from "./place.ts";
import { checkSelection, selectionNames, type Selection } from "./rules.ts";
import { entryOf, fromPlain, itemsOf, type MapNode, type TreeNode } from "./tree.ts";

/** The version of sops whose way of writing this package follows; what new files name as theirs. */
export const formatVersion = "3.13.2";

export interface Metadata {
  keyGroups: KeyGroup[];
  /** How many groups open the file; 0 where there is one group, or none was said. */
  shamirThreshold: number;
  /** RFC 3339, whole seconds. */
  lastModified: string;
  /** Encrypted; empty where a file has none. */
  mac: string;
  version: string;
  /** As the file says it: empty where it leaves the default rule unsaid. */
  selection: Selection;
  macOnlyEncrypted: boolean;
}

/** The fields of a key's entry, apart from `enc` and `created_at`. */
const keyFields: Record<KeyType, readonly string[]> = {
  kms: ["arn", "role", "context", "aws_profile"],
  gcp_kms: ["resource_id"],
  hckms: ["key_id"],
  azure_kv: ["vault_url", "name", "version"],
  hc_vault: ["vault_address", "engine_path", "key_name"],
  pgp: ["fp"],
  age: ["recipient"],
};

/** The order in which sops lists the keys of a group. */
const keyTypes = Object.keys(keyFields) as KeyType[];

/** Reads a block; what is wrong with it is told with its place. */
export function readMetadata(block: MapNode, file: string | undefined): Metadata {
  const text = (name: string): string => textOf(entryOf(block, name)?.value, name, file);
  const lastModified = normalizedTime(text("lastmodified"));
  if (lastModified === undefined) throw damaged("lastmodified is no time", block, file);
  const selection: Selection = {};
  for (const name of selectionNames) if (text(name) !== "") selection[name] = text(name);
  const threshold = Number(text("shamir_threshold"));
  if (!Number.isSafeInteger(threshold) || threshold < 0)
    throw damaged("shamir_threshold is no number", block, file);
  return {
    keyGroups: readGroups(block, file),
    shamirThreshold: threshold,
    lastModified,
    mac: text("mac"),
    version: text("version"),
    selection: checkSelection(selection, formatPlace(file, block.at)),
    macOnlyEncrypted: /^(true|1)$/i.test(text("mac_only_encrypted")),
  };
}

function readGroups(block: MapNode, file: string | undefined): KeyGroup[] {
  const group = readGroup(block, file);
  if (group.length > 0) return [group];
  const groups = mapsOf(entryOf(block, "key_groups")?.value, "key_groups", file).map((one) =>
    readGroup(one, file),
  );
  if (groups.length === 0) throw damaged("it names no key of a kind that is known here", block, file);
  return groups;
}

function readGroup(from: MapNode, file: string | undefined): KeyGroup {
  return keyTypes.flatMap((type) =>
    mapsOf(entryOf(from, type)?.value, type, file).map((entry) => readKey(type, entry, file)),
  );
}

function readKey(type: KeyType, entry: MapNode, file: string | undefined): WrappedKey {
  const key: Record<string, unknown> = { type };
  for (const name of keyFields[type]) {
    const value = entryOf(entry, name)?.value;
    if (name === "context") {
      if (value?.kind === "map" && value.entries.length > 0) key[name] = textsOf(value, file);
    } else {
      const text = textOf(value, name, file);
      if (text !== "" || (name !== "role" && name !== "aws_profile")) key[name] = text;
    }
  }
  const enc = textOf(entryOf(entry, "enc")?.value, "enc", file);
  if (enc === "") throw damaged(`a key of kind ${type} wraps nothing: its enc is empty`, entry, file);
  const createdAt = textOf(entryOf(entry, "created_at")?.value, "created_at", file);
  const wrapped = { key: key as unknown as WrappedKey["key"], enc };
  return createdAt === "" ? wrapped : { ...wrapped, created_at: createdAt };
}

/** The block as a tree, to be written. */
export function writeMetadata(metadata: Metadata): MapNode {
  const { keyGroups: groups } = metadata;
  const block: Record<string, unknown> = {
    ...(groups.length === 1
      ? groupFields(groups[0]!)
      : { key_groups: groups.map((group) => groupFields(group, { age: [], hc_vault: [] })) }),
    ...(metadata.shamirThreshold === 0 ? {} : { shamir_threshold: metadata.shamirThreshold }),
    lastmodified: metadata.lastModified,
    mac: metadata.mac,
    ...metadata.selection,
    ...(metadata.macOnlyEncrypted ? { mac_only_encrypted: true } : {}),
    version: metadata.version,
  };
  return fromPlain(sorted(block)) as MapNode;
}

function groupFields(group: KeyGroup, fields: Record<string, unknown[]> = {}): Record<string, unknown[]> {
  for (const { key, enc, created_at } of group) {
    const { type, ...rest } = key;
    const stamp = created_at === undefined ? {} : { created_at };
    (fields[type] ??= []).push({ ...(type === "kms" ? { aws_profile: "" } : {}), ...rest, ...stamp, enc });
  }
  return fields;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  );
}

/** RFC 3339 in whole seconds, as it enters the MAC's additional data; nothing where a text is no time. */
function normalizedTime(text: string): string | undefined {
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:[.,]\d+)?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (match === null || Number.isNaN(Date.parse(`${match[1]!}Z`))) return undefined;
  return `${match[1]!}${/^[+-]00:00$/.test(match[2]!) ? "Z" : match[2]!}`;
}

/** A scalar as text, whatever type it was written in; nothing and null are empty. */
function textOf(node: TreeNode | undefined, name: string, file: string | undefined): string {
  if (node === undefined || node.kind === "null") return "";
  if (node.kind === "map" || node.kind === "list" || node.kind === "bytes") {
    throw damaged(`${name} is no text`, node, file);
  }
  return String(node.value);
}

function textsOf(map: MapNode, file: string | undefined): Record<string, string> {
  return Object.fromEntries(
    map.entries.flatMap((entry) =>
      entry.kind === "entry" ? [[entry.key, textOf(entry.value, entry.key, file)] as const] : [],
    ),
  );
}

/** Lists were written as `null` or left out where they are empty. */
function mapsOf(node: TreeNode | undefined, name: string, file: string | undefined): MapNode[] {
  if (node === undefined || node.kind === "null") return [];
  if (node.kind === "str" && node.value === "") return [];
  if (node.kind !== "list") throw damaged(`${name} is no list`, node, file);
  return itemsOf(node).map((item) => {
    if (item.kind !== "map") throw damaged(`an entry of ${name} is no map`, item, file);
    return item;
  });
}

function damaged(what: string, node: TreeNode, file: string | undefined): SopsError {
  return new SopsError("errorGeneric", `the sops block cannot be read: ${what}`, {
    at: formatPlace(file, node.at),
    fix: "Restore the file from version control.",
  });
}
