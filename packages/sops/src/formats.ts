/** The formats by name, and files as they lie on disk: documents with the `sops` block laid out as the format wants it. */
import { SopsError } from "./errors.ts";
import { unwrapBinary, wrapBinary } from "./formats/binary.ts";
import { dotenv } from "./formats/dotenv.ts";
import { flatten, unflatten } from "./formats/flatten.ts";
import type { EmitOptions, Format, FormatName } from "./formats/format.ts";
import { ini } from "./formats/ini.ts";
import { json } from "./formats/json.ts";
import { yaml } from "./formats/yaml.ts";
import { readMetadata, writeMetadata, type Metadata } from "./metadata.ts";
import { formatPlace } from "./place.ts";
import { strOfBytes, type Comment, type Entry, type MapNode, type Scalar, type TreeNode } from "./tree.ts";

/** How a file of each format is written once it is encrypted. */
const formats: Record<FormatName, Format> = { yaml, json, dotenv, ini, binary: json };

/** The format by a file's name, as sops decides it. */
export function formatOfPath(path: string): FormatName {
  if (/\.ya?ml$/.test(path)) return "yaml";
  if (path.endsWith(".json")) return "json";
  if (path.endsWith(".env")) return "dotenv";
  return path.endsWith(".ini") ? "ini" : "binary";
}

const metadataKey = "sops";
const flatPrefix = `${metadataKey}_`;

/** Documents of a plain file. */
export function readPlain(
  content: string | Uint8Array,
  name: FormatName,
  file: string | undefined,
): MapNode[] {
  if (name === "binary") return [wrapBinary(Buffer.from(content))];
  const format = formats[name];
  const documents = format.parse(textOf(content, file), file);
  if (documents.length === 0) {
    throw new SopsError("needAtLeastOneDocument", "the file is empty", {
      code: "config",
      at: file,
      fix: "An empty map, {}, can be encrypted.",
    });
  }
  refuseReserved(documents, format, file);
  return documents;
}

/** A key in the way of the `sops` block cannot be kept. */
function refuseReserved(documents: readonly MapNode[], format: Format, file: string | undefined): void {
  const reserved = documents.flatMap(({ entries }) => entries).find((entry) => isMetadata(entry, format)) as
    | Entry
    | undefined;
  if (reserved) {
    throw new SopsError("fileAlreadyEncrypted", `the key ${reserved.key} is kept for what sops writes`, {
      code: "conflict",
      at: formatPlace(file, reserved.at),
      fix: "The file seems to be encrypted already; otherwise give the key another name.",
    });
  }
}

export function writePlain(documents: readonly MapNode[], name: FormatName, options: EmitOptions): Buffer {
  return Buffer.from(name === "binary" ? unwrapBinary(documents) : formats[name].emit(documents, options));
}

export interface EncryptedFile {
  documents: MapNode[];
  metadata: Metadata;
}

/** Documents of an encrypted file without their `sops` blocks, and the first of these. */
export function readEncrypted(
  content: string | Uint8Array,
  name: FormatName,
  file: string | undefined,
): EncryptedFile {
  const format = formats[name];
  const documents = format.parse(textOf(content, file), file);
  const block = documents[0] && blockOf(documents[0], format, file);
  if (block === undefined) {
    throw new SopsError("errorGeneric", "the file is not encrypted: it has no sops block", {
      code: "config",
      at: file,
    });
  }
  return {
    metadata: readMetadata(block, file),
    documents: documents.map((document) =>
      withEntries(document, (entries) => entries.filter((entry) => !isMetadata(entry, format))),
    ),
  };
}

export function writeEncrypted(
  documents: readonly MapNode[],
  metadata: Metadata,
  name: FormatName,
  options: EmitOptions,
): string {
  const format = formats[name];
  refuseReserved(documents, format, undefined);
  const block = layOut(writeMetadata(metadata), format);
  return format.emit(
    documents.map((document) => withEntries(document, (entries) => [...entries, ...block])),
    options,
  );
}

/** The entries that hold a `sops` block in a format. */
function layOut(block: MapNode, { layout }: Format): Entry[] {
  if (layout === "nested") return [entry(metadataKey, block)];
  const flat = flatten(block).entries as Entry[];
  if (layout === "flat") return flat.map(({ key, value }) => entry(flatPrefix + key, value));
  const escaped = flat.map(({ key, value }) =>
    entry(
      key,
      mapText(value, (text) => text.replaceAll("\n", "\\n")),
    ),
  );
  return [entry(metadataKey, { kind: "map", entries: escaped })];
}

/** Whether a file has a `sops` block; false too where it cannot be read in its format. */
export function hasBlock(content: string | Uint8Array, name: FormatName, file: string | undefined): boolean {
  try {
    const format = formats[name];
    const [first] = format.parse(textOf(content, file), file);
    return first !== undefined && blockOf(first, format, file) !== undefined;
  } catch (error) {
    if (error instanceof SopsError) return false;
    throw error;
  }
}

function isMetadata(one: Entry | Comment, { layout }: Format): boolean {
  if (one.kind === "comment") return false;
  return layout === "flat" ? one.key.startsWith(flatPrefix) : one.key === metadataKey;
}

/** The `sops` block of a document as a nested map, however the format lays it out. */
function blockOf(document: MapNode, format: Format, file: string | undefined): MapNode | undefined {
  const found = document.entries.filter((one) => isMetadata(one, format)) as Entry[];
  const [first] = found;
  if (first === undefined) return undefined;
  const { at } = first;
  if (format.layout === "flat") {
    return unflatten({
      kind: "map",
      entries: found.map(({ key, value }) => entry(key.slice(flatPrefix.length), value)),
      at,
    });
  }
  if (first.value.kind !== "map") {
    throw new SopsError("errorGeneric", "the sops block is no map", {
      code: "config",
      at: formatPlace(file, at),
    });
  }
  if (format.layout === "nested") return { ...first.value, at };
  // Line breaks were written as `\n` in most versions, in 3.13.0 and 3.13.1 as they are.
  const unescaped = first.value.entries
    .filter((one) => one.kind === "entry")
    .map(({ key, value }) =>
      entry(
        key,
        mapText(value, (text) => text.replaceAll("\\n", "\n")),
      ),
    );
  return unflatten({ kind: "map", entries: unescaped, at });
}

function entry(key: string, value: TreeNode): Entry {
  return { kind: "entry", key, value };
}

function mapText(node: TreeNode, change: (text: string) => string): TreeNode {
  return node.kind === "str" ? { ...node, value: change(node.value) } : node;
}

function withEntries(map: MapNode, change: (entries: MapNode["entries"]) => MapNode["entries"]): MapNode {
  return { ...map, entries: change(map.entries) };
}

/** A file's text; what is not UTF-8 has no other format than binary. */
function textOf(content: string | Uint8Array, file: string | undefined): string {
  const scalar: Scalar = typeof content === "string" ? { kind: "str", value: content } : strOfBytes(content);
  if (scalar.kind === "str") return scalar.value.replace(/^\uFEFF/, "");
  throw new SopsError("errorGeneric", "the file is not UTF-8", {
    code: "config",
    at: file,
    fix: "Anything can be encrypted as a binary file.",
  });
}
