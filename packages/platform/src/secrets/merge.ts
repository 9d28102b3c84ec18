/**
 * Three-way merge of encrypted files: of their plaintexts, in memory, encrypted again with the ciphertext of all that was
 * taken over. The MAC and the time are made anew and so never conflict.
 */
import { decryptDocuments } from "@kws/sops/crypt";
import { SopsError } from "@kws/sops/errors";
import { decrypt, isEncrypted, keysOf, type OpenFile, replace } from "@kws/sops/file";
import { readEncrypted, readPlain } from "@kws/sops/formats";
import type { FormatName } from "@kws/sops/formats/format";
import { keyId } from "@kws/sops/keyspec";
import type { Metadata } from "@kws/sops/metadata";
import { type MapNode, same } from "@kws/sops/tree";
import { keyPath } from "../project/key-path.ts";
import { configOf } from "./files.ts";
import { mergeDocuments, type Sides } from "./merge-trees.ts";
import type { Tools } from "./operations.ts";

/** What stands in for a key where the sides name different recipients. */
export const recipients = "the recipients";

export interface Merged {
  content: string;
  /** Keys that both sides changed differently; the content has our side's values. */
  conflicts: string[];
}

export interface MergeOptions {
  format: FormatName;
  /** Where the file belongs: for errors, and for how `.sops.yaml` wants it indented. */
  file: string;
  /** Our recipients, rule and data key stay, whatever the other side has. */
  ownKeys?: boolean;
}

/** Merges three versions of one file. An empty base is none; it may be from before the file was encrypted. */
export async function mergeEncrypted(
  contents: Sides<string | Uint8Array>,
  { format, file, ownKeys = false }: MergeOptions,
  { keyring, now, config }: Pick<Tools, "keyring" | "now" | "config">,
): Promise<Merged> {
  const open = (content: string | Uint8Array) => decrypt(content, { format, file, keyring });
  const [ours, theirs] = await Promise.all([open(contents.ours), open(contents.theirs)]);
  const base = isEncrypted(contents.base, { format, file }) ? await open(contents.base) : undefined;
  const plainBase = () => (contents.base.length === 0 ? [] : readPlain(contents.base, format, file));
  const { documents, conflicts } = mergeDocuments({
    base: base?.documents ?? plainBase(),
    ours: ours.documents,
    theirs: theirs.documents,
  });
  const chosen = ownKeys ? "ours" : chooseKeys(base?.metadata, ours.metadata, theirs.metadata);
  const told = [
    ...conflicts.map((path) => (path.length === 0 ? "the documents" : keyPath([...path]))),
    ...(chosen === undefined ? [recipients] : []),
  ];
  if (chosen !== "theirs" && equal(documents, ours.documents))
    return { content: Buffer.from(contents.ours).toString(), conflicts: told };
  const [kept, other] = chosen === "theirs" ? [theirs, ours] : [ours, theirs];
  const [keptContent, otherContent] =
    chosen === "theirs" ? [contents.theirs, contents.ours] : [contents.ours, contents.theirs];
  learn(kept, other.metadata, otherContent);
  learn(kept, kept.metadata, keptContent);
  const indent = (await configOf(file, config))?.indentOf(format);
  return {
    content: replace(kept, documents, { now, ...(indent === undefined ? {} : { indent }) }),
    conflicts: told,
  };
}

function equal(some: readonly MapNode[], others: readonly MapNode[]): boolean {
  return some.length === others.length && some.every((one, index) => same(one, others[index] ?? one));
}

/** Whose recipients, rule and data key are taken over; undefined where both sides changed them differently. */
function chooseKeys(
  base: Metadata | undefined,
  ours: Metadata,
  theirs: Metadata,
): "ours" | "theirs" | undefined {
  const wrapped = (metadata: Metadata) => JSON.stringify([metadata.keyGroups, namesOf(metadata)]);
  if (base !== undefined && wrapped(theirs) === wrapped(base)) return "ours";
  if (base !== undefined && wrapped(ours) === wrapped(base)) return "theirs";
  return namesOf(ours) === namesOf(theirs) ? "ours" : undefined;
}

function namesOf(metadata: Metadata): string {
  const { shamirThreshold, selection, macOnlyEncrypted } = metadata;
  const groups = keysOf(metadata).map((group) => group.map(keyId).sort());
  return JSON.stringify([groups, shamirThreshold, selection, macOnlyEncrypted]);
}

/** Has a file keep the ciphertext of what another content says under the same data key; under another one it learns nothing. */
function learn({ cipher, format, file }: OpenFile, metadata: Metadata, content: string | Uint8Array): void {
  try {
    decryptDocuments(readEncrypted(content, format, file).documents, metadata, cipher, file);
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
  }
}
