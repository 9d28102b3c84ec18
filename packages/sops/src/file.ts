/**
 * Encrypted files as a whole: reading with the MAC verified, and every way to write them. Nothing here touches a disk; what
 * is decrypted exists in memory only, and no error repeats it.
 */
import { timingSafeEqual } from "node:crypto";
import { messageOf } from "@kws/base/errors";
import { removeAt, setAt } from "./change.ts";
import { createCipher, type Cipher } from "./cipher.ts";
import { decryptDocuments, encryptDocuments } from "./crypt.ts";
import { SopsError } from "./errors.ts";
import { hasBlock, readEncrypted, readPlain, writeEncrypted, writePlain } from "./formats.ts";
import type { FormatName } from "./formats/format.ts";
import type { Keyring } from "./keyring.ts";
import type { Key } from "./keys/key.ts";
import { keyId } from "./keyspec.ts";
import { formatVersion, type Metadata } from "./metadata.ts";
import { checkSelection, defaultSelection, type Selection } from "./rules.ts";
import { fromPlain, toPlain, type MapNode, type TreePath } from "./tree.ts";

/** What every function needs to know about a file. */
export interface FileOptions {
  format: FormatName;
  /** How errors name it. */
  file?: string;
}

/** A file that was decrypted. */
export interface OpenFile {
  readonly format: FormatName;
  readonly file?: string;
  readonly metadata: Metadata;
  /** One for each document; the `at` of a node is its place in the encrypted text. */
  readonly documents: readonly MapNode[];
  /** Of this file's values: keeps the ciphertext of what does not change. */
  readonly cipher: Cipher;
  /** The plaintext in the same format. */
  content(): Buffer;
  /** The documents as one plain object, the entries of later ones over those of earlier ones. */
  values(): Record<string, unknown>;
}

export interface DecryptOptions extends FileOptions {
  keyring: Keyring;
  /** Answers what the file says even where it was changed by other means. */
  ignoreMac?: boolean;
  /** Blanks per level of the plaintext, from `stores` of `.sops.yaml`. */
  indent?: number;
}

/** Decrypts a file. Fails as sops does: 128 without a key, 25 where a value was changed, 51 where the MAC does not agree. */
export async function decrypt(content: string | Uint8Array, options: DecryptOptions): Promise<OpenFile> {
  const { format, file, keyring, ignoreMac = false, indent } = options;
  const { documents: sealed, metadata } = readEncrypted(content, format, file);
  const cipher = createCipher(await keyring.dataKey(metadata, file));
  const { documents, mac } = decryptDocuments(sealed, metadata, cipher, file);
  if (!ignoreMac) verifyMac(mac, metadata, cipher, file);
  return {
    format,
    file,
    metadata,
    documents,
    cipher,
    content: () => writePlain(documents, format, { indent }),
    values() {
      const entries = documents.flatMap((document) => document.entries);
      return toPlain({ kind: "map", entries }) as Record<string, unknown>;
    },
  };
}

function verifyMac(computed: string, metadata: Metadata, cipher: Cipher, file: string | undefined): void {
  const fix = "Restore the file from version control, or look through it and have its MAC ignored.";
  let stored;
  try {
    stored = cipher.open(metadata.mac, metadata.lastModified);
  } catch (error) {
    throw new SopsError("macMismatch", `its MAC cannot be verified: ${messageOf(error)}`, { at: file, fix });
  }
  const text = Buffer.from(stored.kind === "str" ? stored.value : "");
  if (text.length === computed.length && timingSafeEqual(text, Buffer.from(computed))) return;
  const what = text.length === 0 ? "the file has no MAC" : "its MAC does not agree with its content";
  throw new SopsError("macMismatch", `${what}: it was changed without being encrypted again`, {
    at: file,
    fix,
  });
}

export interface EncryptOptions extends FileOptions {
  keyring: Keyring;
  /** Any key of a group opens it; with several groups `shamirThreshold` of them are needed, all unless it is given. */
  groups: readonly (readonly Key[])[];
  shamirThreshold?: number;
  /** What is encrypted; a binary file is as a whole. */
  selection?: Selection;
  macOnlyEncrypted?: boolean;
  now: Date;
  /** Of what is written; the file's own unless given. */
  outputFormat?: FormatName;
  /** Blanks per level of what is written. */
  indent?: number;
}

/** Encrypts a plain file. */
export async function encrypt(content: string | Uint8Array, options: EncryptOptions): Promise<string> {
  const { format, file, keyring, groups, now, indent } = options;
  const documents = readPlain(content, format, file);
  const { dataKey, keyGroups, shamirThreshold } = await keyring.wrap(groups, options.shamirThreshold ?? 0);
  const metadata: Metadata = {
    keyGroups,
    shamirThreshold,
    lastModified: "",
    mac: "",
    version: formatVersion,
    selection: format === "binary" ? {} : newSelection(options.selection, file),
    macOnlyEncrypted: options.macOnlyEncrypted ?? false,
  };
  const outputFormat = options.outputFormat ?? format;
  return seal(documents, metadata, createCipher(dataKey), { format: outputFormat, now, indent });
}

/** The rule of a new file, which sops writes down even where it is the default. */
function newSelection(given: Selection = {}, file: string | undefined): Selection {
  const selection = checkSelection(given, file);
  return Object.keys(selection).length === 0 ? defaultSelection : selection;
}

export interface WriteOptions {
  now: Date;
  /** Blanks per level, from `stores` of `.sops.yaml`. */
  indent?: number;
}

/** The file with other content, given in its own format. What did not change keeps its ciphertext. */
export function edit(file: OpenFile, content: string | Uint8Array, options: WriteOptions): string {
  return seal(readPlain(content, file.format, file.file), file.metadata, file.cipher, {
    ...options,
    format: file.format,
  });
}

/** The file with other documents. */
export function replace(file: OpenFile, documents: readonly MapNode[], options: WriteOptions): string {
  return seal(documents, file.metadata, file.cipher, { ...options, format: file.format });
}

/** The file with one value, or a whole map or list, in a place of its first document; what is missing above is made. */
export function set(file: OpenFile, path: TreePath, value: unknown, options: WriteOptions): string {
  const [first, ...rest] = file.documents;
  const changed = setAt(first ?? { kind: "map", entries: [] }, path, fromPlain(value));
  return replace(file, [changed, ...rest], options);
}

/** The file without one entry of a map, or item of a list, of its first document. */
export function unset(file: OpenFile, path: TreePath, options: WriteOptions): string {
  const [first, ...rest] = file.documents;
  const changed = removeAt(first ?? { kind: "map", entries: [] }, path);
  return replace(file, [changed, ...rest], options);
}

export interface RotateOptions extends DecryptOptions, WriteOptions {
  /** Of what is written; the file's own unless given. */
  outputFormat?: FormatName;
  /** Keys to add to the first group. In several groups, one key would open more than its part. */
  add?: readonly Key[];
  /** Keys to remove wherever they are. */
  remove?: readonly Key[];
  /** Other groups instead of the file's own. */
  groups?: readonly (readonly Key[])[];
  shamirThreshold?: number;
}

/** The file with a new data key, all values encrypted anew. */
export async function rotate(content: string | Uint8Array, options: RotateOptions): Promise<string> {
  const { keyring, add = [], remove = [] } = options;
  const { documents, metadata, format } = await decrypt(content, options);
  const [first = [], ...others] = options.groups ?? keysOf(metadata);
  const known = new Set(first.map(keyId));
  const removed = new Set(remove.map(keyId));
  const groups = [[...first, ...add.filter((key) => !known.has(keyId(key)))], ...others].map((group) =>
    group.filter((key) => !removed.has(keyId(key))),
  );
  const { dataKey, keyGroups, shamirThreshold } = await keyring.wrap(
    groups,
    options.shamirThreshold ?? Math.min(metadata.shamirThreshold, groups.length),
  );
  return seal(documents, { ...metadata, keyGroups, shamirThreshold }, createCipher(dataKey), {
    ...options,
    format: options.outputFormat ?? format,
  });
}

export interface UpdateKeysOptions extends FileOptions {
  keyring: Keyring;
  groups: readonly (readonly Key[])[];
  shamirThreshold?: number;
  indent?: number;
}

export interface UpdatedKeys {
  /** The file; as it was where nothing changed. */
  content: string;
  changed: boolean;
  added: Key[];
  removed: Key[];
}

/** Wraps the same data key for other keys; values and MAC stay as they are. */
export async function updateKeys(
  content: string | Uint8Array,
  options: UpdateKeysOptions,
): Promise<UpdatedKeys> {
  const { format, file, keyring, groups, indent } = options;
  const { documents, metadata } = readEncrypted(content, format, file);
  const before = keysOf(metadata);
  const threshold = groups.length > 1 ? (options.shamirThreshold ?? 0) || groups.length : 0;
  const difference = (from: readonly (readonly Key[])[], without: readonly (readonly Key[])[]): Key[] => {
    const known = new Set(without.flat().map(keyId));
    return from.flat().filter((key) => !known.has(keyId(key)));
  };
  const added = difference(groups, before);
  const removed = difference(before, groups);
  if (isFor(metadata, groups, threshold))
    return { content: Buffer.from(content).toString(), changed: false, added, removed };
  const dataKey = await keyring.dataKey(metadata, file);
  const wrapped = await keyring.wrap(groups, threshold, dataKey);
  const { keyGroups, shamirThreshold } = wrapped;
  const updated = { ...metadata, keyGroups, shamirThreshold };
  return { content: writeEncrypted(documents, updated, format, { indent }), changed: true, added, removed };
}

/** Whether a file is wrapped for these groups and threshold, so that `updateKeys` has nothing to do. */
export function isFor(
  metadata: Metadata,
  groups: readonly (readonly Key[])[],
  shamirThreshold: number,
): boolean {
  const names = (all: readonly (readonly Key[])[]) => JSON.stringify(all.map((one) => one.map(keyId).sort()));
  if (names(keysOf(metadata)) !== names(groups)) return false;
  const needed = (threshold: number) => (groups.length > 1 ? threshold || groups.length : 0);
  return needed(metadata.shamirThreshold) === needed(shamirThreshold);
}

/** What a file says of itself without any key. */
export function inspect(content: string | Uint8Array, { format, file }: FileOptions): Metadata {
  return readEncrypted(content, format, file).metadata;
}

/** Whether a file has a `sops` block; false too where it cannot be read in its format. */
export function isEncrypted(content: string | Uint8Array, { format, file }: FileOptions): boolean {
  return hasBlock(content, format, file);
}

/** The keys of a file, group by group. */
export function keysOf(metadata: Metadata): Key[][] {
  return metadata.keyGroups.map((group) => group.map(({ key }) => key));
}

function seal(
  documents: readonly MapNode[],
  metadata: Metadata,
  cipher: Cipher,
  { format, now, indent }: WriteOptions & { format: FormatName },
): string {
  const { documents: sealed, mac } = encryptDocuments(documents, metadata, cipher);
  const lastModified = now.toISOString().replace(/\.\d+Z$/, "Z");
  const sealedMac = cipher.seal({ kind: "str", value: mac }, lastModified);
  return writeEncrypted(sealed, { ...metadata, lastModified, mac: sealedMac }, format, { indent });
}
