/** Reads YAML into trees as sops does with go-yaml: comments become entries of their own, aliases what they stand for. */
import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Parser,
  type Document,
  type Scalar as ScalarToken,
  type YAMLParseError,
} from "yaml";
import { SopsError } from "../../errors.ts";
import { formatPlace, placer } from "../../place.ts";
import {
  str,
  type Comment,
  type Entry,
  type ListNode,
  type MapNode,
  type Place,
  type Scalar,
  type TreeNode,
} from "../../tree.ts";
import { attachComments, type Note, type NotesOf } from "./comments.ts";
import { IntegerTooLarge, resolvePlain, resolveTagged } from "./scalars.ts";

/** Nodes that aliases may add to a file. A few lines of aliases to aliases would otherwise fill the memory. */
const maxAliased = 100_000;

/** All documents of a stream; an empty one is an empty map. */
export function parseDocuments(text: string, file: string | undefined): MapNode[] {
  const placeOf = placer(text);
  const fail = (message: string, offset: number, fix?: string): never => {
    throw new SopsError("errorGeneric", message, {
      code: "config",
      at: formatPlace(file, placeOf(offset)),
      fix,
    });
  };
  try {
    const tokens = Array.from(new Parser().parse(text));
    const options = {
      schema: "failsafe",
      keepSourceTokens: true,
      uniqueKeys: false,
      merge: false,
      logLevel: "silent",
    } as const;
    const documents = Array.from(new Composer(options).compose(tokens, false, text.length));
    for (const { errors } of documents) {
      if (errors[0]) fail(explain(errors[0]), errors[0].pos[0]);
    }
    const notesOf = attachComments(text, tokens, documents);
    return documents.map((document) => convertDocument(document, notesOf, placeOf, fail));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SopsError("errorGeneric", "the file is nested too deeply", {
      code: "config",
      at: file,
      cause: error,
    });
  }
}

/** The library's words without what follows a colon or a quote, which may repeat those of the file. */
function explain({ code, message }: YAMLParseError): string {
  if (code === "RESOURCE_EXHAUSTION") throw new RangeError(message);
  return `no valid YAML: ${message.split(/: |["']/)[0]!.trim()}`;
}

type Fail = (message: string, offset: number, fix?: string) => never;

function convertDocument(
  document: Document.Parsed,
  notesOf: NotesOf,
  placeOf: (offset: number) => Place,
  fail: Fail,
): MapNode {
  const anchors = new Map<string, unknown>();
  /** Aliases that are being followed. */
  const open = new Set<unknown>();
  let aliased = 0;

  const comments = (notes: readonly Note[], inline = false): Comment[] =>
    notes.map(({ text, offset }) => ({
      kind: "comment",
      text,
      ...(inline ? { inline } : {}),
      at: placeOf(offset),
    }));

  const offsetOf = (node: unknown): number => (node as { range?: [number] } | null)?.range?.[0] ?? 0;

  const convert = (node: unknown, hasOwnComments: boolean): TreeNode => {
    if (open.size > 0 && ++aliased > maxAliased) {
      fail(
        `aliases make the file grow by more than ${maxAliased} values`,
        offsetOf(node),
        "Write the values out.",
      );
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target === undefined) return fail(`there is no anchor &${node.source} above`, offsetOf(node));
      if (open.has(target)) return fail(`the anchor &${node.source} contains itself`, offsetOf(node));
      open.add(target);
      const converted = convert(target, false);
      open.delete(target);
      return { ...converted, at: placeOf(offsetOf(node)) };
    }
    if (isMap(node) || isSeq(node) || isScalar(node)) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    }
    const at = placeOf(offsetOf(node));
    if (isScalar(node)) return convertScalar(node, at, fail);
    const notes = typeof node === "object" && node !== null && !hasOwnComments ? notesOf(node) : undefined;
    const leading = [...comments(notes?.head ?? []), ...comments(notes?.line ?? [])];
    const trailing = comments(notes?.foot ?? []);
    if (isMap(node))
      return { kind: "map", entries: [...leading, ...convertPairs(node.items), ...trailing], at };
    if (isSeq(node))
      return { kind: "list", items: [...leading, ...node.items.flatMap(convertItem), ...trailing], at };
    return { kind: "null", at };
  };
  const convertPairs = (pairs: readonly { key: unknown; value: unknown }[]): (Entry | Comment)[] => {
    const names = new Set<string>();
    return pairs.flatMap(({ key, value }) => {
      const name = convertKey(key);
      if (names.has(name)) fail(`the key ${JSON.stringify(name)} stands here a second time`, offsetOf(key));
      names.add(name);
      return convertPair(name, key, value);
    });
  };
  const convertPair = (name: string, key: unknown, value: unknown): (Entry | Comment)[] => {
    const of = notesOf(key as object);
    const ofValue = isScalar(value) || isAlias(value) ? notesOf(value) : undefined;
    return [
      ...comments(of.head),
      ...comments(of.line),
      ...comments(ofValue?.head ?? []),
      ...comments(ofValue?.line ?? [], true),
      { kind: "entry", key: name, value: convert(value, ofValue !== undefined), at: placeOf(offsetOf(key)) },
      ...comments(ofValue?.foot ?? []),
      ...comments(of.foot),
    ];
  };
  const convertItem = (item: unknown): ListNode["items"] => {
    const of = notesOf(item as object);
    return [...comments(of.head), ...comments(of.line, true), convert(item, true), ...comments(of.foot)];
  };
  const convertKey = (key: unknown): string => {
    const node = isAlias(key) ? anchors.get(key.source) : key;
    if (isScalar(node)) {
      const scalar = convert(node, true);
      if (scalar.kind === "str") return scalar.value;
    }
    return fail("a key has to be a text", offsetOf(key), "Put it in quotes.");
  };

  const content = document.contents as unknown;
  const foot = comments(notesOf(document).foot);
  const isEmpty =
    content === null || (isScalar(content) && content.source === "" && content.type === "PLAIN");
  if (isEmpty) {
    const head = content === null ? [] : comments(notesOf(content).head);
    return { kind: "map", entries: [...head, ...foot], at: placeOf(0) };
  }
  const root = convert(content, false);
  if (root.kind !== "map")
    return fail("a document has to be a map", offsetOf(content), "Put it below a key.");
  return { ...root, entries: [...root.entries, ...foot] };
}

function convertScalar(node: ScalarToken, at: Place, fail: Fail): Scalar {
  const text = node.source ?? "";
  const offset = node.range?.[0] ?? 0;
  try {
    if (node.tag !== undefined) {
      return (
        resolveTagged(text, node.tag, at) ?? fail(`the value is no ${node.tag.replace(/^.*:/, "")}`, offset)
      );
    }
    return node.type === "PLAIN" ? resolvePlain(text, at) : str(text, at);
  } catch (error) {
    if (!(error instanceof IntegerTooLarge)) throw error;
    return fail("the number does not fit 64 bits", offset, "Put it in quotes.");
  }
}
