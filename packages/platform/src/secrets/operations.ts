/** What `kws secrets` does to one encrypted file. Each answers the new content and writes nothing. */
import { decrypt, edit, encrypt, type OpenFile, rotate, set, unset, updateKeys } from "@kws/sops/file";
import { SopsError } from "@kws/sops/errors";
import { writePlain } from "@kws/sops/formats";
import type { FormatName } from "@kws/sops/formats/format";
import type { Keyring } from "@kws/sops/keyring";
import { describeKey, type Key } from "@kws/sops/keys/key";
import { find, fromPlain, same, toPlain, type TreePath } from "@kws/sops/tree";
import { type KeyPath, keyPath } from "../project/key-path.ts";
import { type Choices, configOf, type RulePlace, ruleOf, type SecretFile } from "./files.ts";
import { forHelm } from "./open.ts";

export interface Tools extends RulePlace {
  keyring: Keyring;
  now: Date;
  /** Answers what a file says even where its MAC does not agree. */
  ignoreMac?: boolean | undefined;
}

/** The file encrypted, in its own format or another one. */
export async function encryptFile(
  file: SecretFile,
  tools: Tools,
  choices: Choices = {},
  outputFormat: FormatName = file.format,
): Promise<string> {
  const { indent, ...rule } = await ruleOf({ path: file.path, format: outputFormat }, tools, choices);
  const { format, path, content } = file;
  const { keyring, now } = tools;
  return encrypt(content, {
    format,
    file: path,
    keyring,
    now,
    outputFormat,
    ...rule,
    ...withIndent({ indent }),
  });
}

function withIndent({ indent }: { indent: number | undefined }): { indent?: number } {
  return indent === undefined ? {} : { indent };
}

async function indentOf(path: string, format: FormatName, { config, filename }: RulePlace) {
  return withIndent({ indent: (await configOf(filename ?? path, config))?.indentOf(format) });
}

/** The file with its values in memory. */
export interface Opened {
  file: OpenFile;
  indent: { indent?: number };
}

export async function openFile(secret: SecretFile, tools: Tools): Promise<Opened> {
  const { path, format, content } = secret;
  const indent = await indentOf(path, format, tools);
  const { keyring, ignoreMac = false } = tools;
  return { file: await decrypt(content, { format, file: path, keyring, ignoreMac, ...indent }), indent };
}

/** The plaintext, in the file's own format or another one. */
export function plaintext({ file, indent }: Opened, format?: FormatName): Buffer {
  return writePlain(file.documents, format ?? file.format, format === undefined ? indent : {});
}

/** The values as JSON has them. */
export function plainValues({ file }: Opened): unknown {
  return forHelm(file.values());
}

/** One value: a mapping or list in the file's format, a scalar as it is. Nothing there is an error. */
export function extract(opened: Opened, key: KeyPath): { text: Buffer; value: unknown } {
  const node = opened.file.documents.map((one) => find(one, key)).find((one) => one !== undefined);
  if (node === undefined) {
    throw new SopsError("errorGeneric", `there is no ${keyPath(key)} in the file`, {
      code: "not-found",
      ...(opened.file.file === undefined ? {} : { at: opened.file.file }),
    });
  }
  const value = forHelm(toPlain(node));
  if (node.kind === "bytes") return { text: Buffer.from(node.value), value };
  if (node.kind === "map" && opened.file.format !== "dotenv")
    return { text: writePlain([node], opened.file.format, opened.indent), value };
  const text =
    typeof value === "object" && value !== null ? JSON.stringify(value, undefined, 2) : String(value);
  return { text: Buffer.from(text), value };
}

/** The file with other plaintext; what did not change keeps its ciphertext. */
export function editFile(opened: Opened, content: Uint8Array, tools: Tools): string {
  return edit(opened.file, content, { now: tools.now, ...opened.indent });
}

/** The file with one value set; undefined where it has that value already. */
export function setValue(opened: Opened, path: TreePath, value: unknown, tools: Tools): string | undefined {
  const [first] = opened.file.documents;
  const before = first === undefined ? undefined : find(first, path);
  if (before !== undefined && same(before, fromPlain(value))) return undefined;
  return set(opened.file, path, value, { now: tools.now, ...opened.indent });
}

export function unsetValue(opened: Opened, path: TreePath, tools: Tools): string {
  return unset(opened.file, path, { now: tools.now, ...opened.indent });
}

/** The file under a new data key. */
export async function rotateFile(
  { path, format, content }: SecretFile,
  tools: Tools,
  keys: { add: Key[]; remove: Key[] },
  outputFormat: FormatName = format,
): Promise<string> {
  const indent = await indentOf(path, outputFormat, tools);
  const { keyring, now, ignoreMac = false } = tools;
  return rotate(content, { format, file: path, keyring, now, ignoreMac, outputFormat, ...keys, ...indent });
}

export interface KeysUpdate {
  content: string;
  changed: boolean;
  added: string[];
  removed: string[];
}

/** The file for the recipients that its creation rule names; values and MAC stay. */
export async function updateFileKeys(file: SecretFile, tools: Tools): Promise<KeysUpdate> {
  const rule = await ruleOf(file, tools);
  const updated = await updateKeys(file.content, {
    format: file.format,
    file: file.path,
    keyring: tools.keyring,
    groups: rule.groups,
    shamirThreshold: rule.shamirThreshold,
    ...withIndent(rule),
  });
  const told = (keys: Key[]) => keys.map(describeKey);
  return { ...updated, added: told(updated.added), removed: told(updated.removed) };
}
