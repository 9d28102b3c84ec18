/**
 * `.sops.yaml`: for which keys new files are encrypted, what of them, and how they are indented. `destination_rules`, which
 * say where `sops publish` uploads to, are left alone.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { isErrno, messageOf } from "@kws/base/errors";
import { SopsError } from "./errors.ts";
import type { FormatName } from "./formats/format.ts";
import { yaml } from "./formats/yaml.ts";
import type { Key, KeyType } from "./keys/key.ts";
import { keyId, parseKey, parseKeys, type KeySpecOptions } from "./keyspec.ts";
import { formatPlace } from "./place.ts";
import { expression, selectionNames, checkSelection, type Selection } from "./rules.ts";
import { entryOf, itemsOf, toPlain, type MapNode, type TreeNode } from "./tree.ts";

const configName = ".sops.yaml";
const alternateName = ".sops.yml";
const maxLevels = 100;

export interface FoundConfig {
  /** Nothing where there is none. */
  path?: string;
  /** A file that looks like a configuration and is none. */
  warning?: string;
}

/** Searches a folder and those above it, 100 at most. */
export async function findConfig(folder: string): Promise<FoundConfig> {
  let warning: string | undefined;
  let current = resolve(folder);
  for (let level = 0; level < maxLevels; level++) {
    const path = join(current, configName);
    if (await exists(path)) return { path, warning };
    const other = join(current, alternateName);
    if (warning === undefined && (await exists(other))) {
      warning = `${other} is not read: the file has to be named ${configName}`;
    }
    const above = dirname(current);
    if (above === current) break;
    current = above;
  }
  return { warning };
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

/** What a file is encrypted with: what `encrypt` takes. */
export interface CreationRule {
  groups: Key[][];
  /** 0 where it is not said. */
  shamirThreshold: number;
  selection: Selection;
  macOnlyEncrypted: boolean;
  /** Where the rule stands. */
  at: string;
}

export interface SopsConfig {
  path: string;
  /** Blanks per level of files of a format; nothing where the format's own are meant. */
  indentOf(format: FormatName): number | undefined;
  /**
   * The first rule whose `path_regex` matches. Nothing where the file has no rules; no match is an error. The context is for AWS KMS
   * keys that the rule names outside of groups.
   */
  ruleFor(file: string, context?: Record<string, string>): CreationRule | undefined;
  /** Where the rule stands that names the file by its `path_regex`; one without says how files are encrypted, not which. */
  namedAt(file: string): string | undefined;
}

export async function loadConfig(path: string): Promise<SopsConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new SopsError("configFileNotFound", `${path} cannot be read: ${messageOf(error)}`, {
      code: "config",
      cause: error,
    });
  }
  return parseConfig(text, path);
}

/** Reads a configuration; rules are looked into when a file asks for them. */
export function parseConfig(text: string, path: string): SopsConfig {
  const root: MapNode = yaml.parse(text, path)[0] ?? { kind: "map", entries: [] };
  const reader = createReader(path);
  const rules = reader.list(root, "creation_rules", (node) => reader.asMap(node, "a creation rule"));
  const stores = reader.map(root, "stores");
  const nameOf = (file: string) => {
    const inside = relative(dirname(resolve(path)), resolve(file));
    return inside.startsWith(`..${sep}`) ? resolve(file) : inside;
  };
  const firstFor = (file: string) =>
    rules.find((one) => {
      const pattern = reader.text(one, "path_regex");
      return (
        pattern === "" || expression(pattern, "path_regex", reader.place(one, "path_regex"))(nameOf(file))
      );
    });
  return {
    path,
    indentOf(format) {
      const name = format === "binary" ? "json_binary" : format;
      const store = stores && reader.map(stores, name);
      if (store === undefined) return undefined;
      const indent = reader.number(store, "indent");
      if (indent === undefined || (format === "yaml" ? indent === 0 : indent === -1)) return undefined;
      if (indent >= 0) return indent;
      throw reader.wrong(entryOf(store, "indent")!.value, `stores.${name}.indent may not be negative`);
    },
    ruleFor(file, context) {
      if (rules.length === 0) return undefined;
      const rule = firstFor(file);
      if (rule !== undefined) return readRule(rule, reader, context);
      throw new SopsError("errorGeneric", `no creation rule matches ${nameOf(file)}`, {
        code: "config",
        at: path,
        fix: "Add a rule whose path_regex matches it, or one without path_regex at the end.",
      });
    },
    namedAt(file) {
      const rule = firstFor(file);
      if (rule === undefined || reader.text(rule, "path_regex") === "") return undefined;
      return reader.place(rule, "path_regex");
    },
  };
}

function readRule(rule: MapNode, reader: Reader, context: Record<string, string> | undefined): CreationRule {
  const selection: Selection = {};
  for (const name of selectionNames)
    if (reader.text(rule, name) !== "") selection[name] = reader.text(rule, name);
  const at = reader.place(rule);
  const groups = reader.list(rule, "key_groups", (node) => reader.asMap(node, "a key group"));
  return {
    groups:
      groups.length > 0
        ? groups.map((group) => unique(readGroup(group, reader)))
        : [readKeys(rule, reader, context)],
    shamirThreshold: reader.number(rule, "shamir_threshold") ?? 0,
    selection: checkSelection(selection, at),
    macOnlyEncrypted: reader.flag(rule, "mac_only_encrypted"),
    at,
  };
}

/** The fields of a rule that name keys, in the order in which sops lists them. */
const ruleFields: [string, KeyType][] = [
  ["age", "age"],
  ["pgp", "pgp"],
  ["kms", "kms"],
  ["gcp_kms", "gcp_kms"],
  ["hckms", "hckms"],
  ["azure_keyvault", "azure_kv"],
  ["hc_vault_transit_uri", "hc_vault"],
];

/** Keys of a rule without groups: each field a text with commas, or a list. */
function readKeys(rule: MapNode, reader: Reader, context: Record<string, string> | undefined): Key[] {
  const options = { aws_profile: reader.text(rule, "aws_profile"), context };
  return ruleFields.flatMap(([field, type]) =>
    reader.texts(rule, field).flatMap(({ text, at }) => parseKeys(type, text, { ...options, at })),
  );
}

/** Keys of a group: `merge` names further groups that belong to it. */
function readGroup(group: MapNode, reader: Reader): Key[] {
  const merged = reader.list(group, "merge", (node) =>
    readGroup(reader.asMap(node, "a merged key group"), reader),
  );
  const texts = (field: string, type: KeyType): Key[] =>
    reader.texts(group, field).flatMap(({ text, at }) => parseKeys(type, text, { at }));
  const structured = (field: string, read: (entry: MapNode) => Key): Key[] =>
    reader.list(group, field, (node) => read(reader.asMap(node, `an entry of ${field}`)));
  return [
    ...merged.flat(),
    ...texts("age", "age"),
    ...texts("pgp", "pgp"),
    ...structured("kms", (entry) => {
      const context = reader.map(entry, "context");
      const options: KeySpecOptions = {
        at: reader.place(entry),
        aws_profile: reader.text(entry, "aws_profile"),
        ...(context === undefined ? {} : { context: toPlain(context) as Record<string, string> }),
      };
      const role = reader.text(entry, "role");
      return parseKey("kms", reader.text(entry, "arn") + (role === "" ? "" : `+${role}`), options);
    }),
    ...structured("gcp_kms", (entry) =>
      parseKey("gcp_kms", reader.text(entry, "resource_id"), { at: reader.place(entry) }),
    ),
    ...structured("hckms", (entry) =>
      parseKey("hckms", reader.text(entry, "key_id"), { at: reader.place(entry) }),
    ),
    ...structured("azure_keyvault", (entry) => ({
      type: "azure_kv",
      vault_url: reader.text(entry, "vaultUrl"),
      name: reader.text(entry, "key"),
      version: reader.text(entry, "version"),
    })),
    ...texts("hc_vault", "hc_vault"),
  ];
}

function unique(keys: Key[]): Key[] {
  return Array.from(new Map(keys.map((key) => [keyId(key), key])).values());
}

/** Typed access to the tree of a configuration; what has the wrong type is told with its place. */
interface Reader {
  place(node: MapNode, key?: string): string;
  wrong(node: TreeNode, message: string): SopsError;
  asMap(node: TreeNode, what: string): MapNode;
  map(node: MapNode, key: string): MapNode | undefined;
  /** Empty where it is missing. */
  text(node: MapNode, key: string): string;
  /** A text or a list of them. */
  texts(node: MapNode, key: string): { text: string; at: string }[];
  number(node: MapNode, key: string): number | undefined;
  flag(node: MapNode, key: string): boolean;
  list<T>(node: MapNode, key: string, read: (node: TreeNode) => T): T[];
}

function createReader(path: string): Reader {
  const placeOf = (node: TreeNode): string => formatPlace(path, node.at) ?? path;
  const wrong = (node: TreeNode, message: string): SopsError =>
    new SopsError("errorReadingConfig", message, { code: "config", at: placeOf(node) });
  const get = (map: MapNode, key: string): TreeNode | undefined => {
    const value = entryOf(map, key)?.value;
    return value?.kind === "null" ? undefined : value;
  };
  const textOf = (node: TreeNode, key: string): string => {
    if (node.kind === "str") return node.value;
    if (node.kind === "int") return String(node.value);
    throw wrong(node, `${key} has to be a text`);
  };
  const reader: Reader = {
    place: (node, key) => placeOf((key === undefined ? undefined : get(node, key)) ?? node),
    wrong,
    asMap(node, what) {
      if (node.kind !== "map") throw wrong(node, `${what} has to be a map`);
      return node;
    },
    map(node, key) {
      const value = get(node, key);
      return value && reader.asMap(value, key);
    },
    text(node, key) {
      const value = get(node, key);
      return value === undefined ? "" : textOf(value, key);
    },
    texts(node, key) {
      const value = get(node, key);
      if (value === undefined) return [];
      const items = value.kind === "list" ? itemsOf(value) : [value];
      return items.map((item) => ({ text: textOf(item, key), at: placeOf(item) }));
    },
    number(node, key) {
      const value = get(node, key);
      if (value === undefined) return undefined;
      if (value.kind === "int" && typeof value.value === "number") return value.value;
      throw wrong(value, `${key} has to be a whole number`);
    },
    flag(node, key) {
      const value = get(node, key);
      if (value === undefined) return false;
      if (value.kind === "bool") return value.value;
      throw wrong(value, `${key} has to be true or false`);
    },
    list(node, key, read) {
      const value = get(node, key);
      if (value === undefined) return [];
      if (value.kind !== "list") throw wrong(value, `${key} has to be a list`);
      return itemsOf(value).map(read);
    },
  };
  return reader;
}
