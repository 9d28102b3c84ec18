/**
 * JSON: an object at the top, order kept, comments dropped on the way out. Written like Go's encoding/json, indented by
 * tabs.
 */
import { SopsError } from "../errors.ts";
import { formatPlace, placer } from "../place.ts";
import { integer, str, type Comment, type Entry, type MapNode, type Place, type TreeNode } from "../tree.ts";
import { parseInteger } from "../numbers.ts";
import type { EmitOptions, Format } from "./format.ts";

/** Deeper than any file that people write, and shallow enough for the stack. */
const maxDepth = 1000;

export const json: Format = {
  name: "json",
  layout: "nested",
  parse: (text, file) => [parseJson(text, file)],
  emit: (documents, options) =>
    `${emitNode(documents[0] ?? { kind: "map", entries: [] }, indentOf(options), "")}\n`,
};

function parseJson(text: string, file: string | undefined): MapNode {
  const placeOf = placer(text);
  const parser = createParser(
    text,
    (message, offset) => {
      throw new SopsError("errorGeneric", message, {
        code: "config",
        at: formatPlace(file, placeOf(offset)),
      });
    },
    placeOf,
  );
  return parser();
}

type Fail = (message: string, offset: number) => never;

/** A parser of one's own, for what JSON.parse loses: order of numeric keys, duplicates, integers of 64 bits, places. */
function createParser(text: string, fail: Fail, placeOf: (offset: number) => Place): () => MapNode {
  let offset = 0;
  let depth = 0;
  const blank = /[ \t\r\n]*/y;
  const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
  const quoteOrEscape = /["\\]/g;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = offset;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    offset += match[0].length;
    return match[0];
  };
  const skip = (): string => {
    take(blank);
    return text[offset] ?? "";
  };
  const expected = (what: string): never =>
    fail(
      offset >= text.length ? `the file ends where ${what} is expected` : `${what} is expected here`,
      offset,
    );

  /** Not by one expression for the whole text, which a text of some megabytes would make overflow its stack. */
  const readText = (): string => {
    const what = "a text in double quotes";
    const start = offset;
    if (text[start] !== '"') return expected(what);
    let end = start + 1;
    for (;;) {
      quoteOrEscape.lastIndex = end;
      const mark = quoteOrEscape.exec(text);
      if (mark === null) return expected(what);
      if (mark[0] === '"') {
        end = mark.index + 1;
        break;
      }
      end = mark.index + 2;
    }
    try {
      const value = JSON.parse(text.slice(start, end)) as string;
      offset = end;
      return value;
    } catch {
      return expected(what);
    }
  };
  const readNode = (): TreeNode => {
    const start = offset;
    const at = placeOf(start);
    const first = text[offset];
    if (first === "{" || first === "[") {
      if (++depth > maxDepth) fail(`more than ${maxDepth} levels are not read`, start);
      const node: TreeNode = first === "{" ? readMap(at) : { kind: "list", items: readItems(), at };
      depth--;
      return node;
    }
    if (first === '"') return str(readText(), at);
    for (const [word, node] of [
      ["true", { kind: "bool", value: true, at }],
      ["false", { kind: "bool", value: false, at }],
      ["null", { kind: "null", at }],
    ] as const) {
      if (text.startsWith(word, offset)) {
        offset += word.length;
        return node;
      }
    }
    const digits = take(number);
    if (digits === undefined) return expected("a value");
    const whole = parseInteger(digits);
    if (whole !== undefined) return integer(whole, at);
    const value = Number(digits);
    if (!Number.isFinite(value)) fail("the number is too large", start);
    return { kind: "float", value, at };
  };
  /** What stands between brackets, `read` once for each element. */
  const readElements = (close: string, read: () => void): void => {
    offset++;
    if (skip() === close) {
      offset++;
      return;
    }
    for (;;) {
      skip();
      read();
      const next = skip();
      offset++;
      if (next === close) return;
      if (next !== ",") {
        offset--;
        expected(`"," or "${close}"`);
      }
    }
  };
  const readItems = (): TreeNode[] => {
    const items: TreeNode[] = [];
    readElements("]", () => items.push(readNode()));
    return items;
  };
  const readMap = (at: Place): MapNode => {
    const entries: Entry[] = [];
    const seen = new Set<string>();
    readElements("}", () => {
      const start = offset;
      const key = readText();
      if (seen.has(key)) fail(`the key ${JSON.stringify(key)} stands here a second time`, start);
      seen.add(key);
      if (skip() !== ":") expected('":"');
      offset++;
      skip();
      entries.push({ kind: "entry", key, value: readNode(), at: placeOf(start) });
    });
    return { kind: "map", entries, at };
  };
  return () => {
    if (skip() !== "{") return fail('the file has to be an object, beginning with "{"', offset);
    const root = readNode() as MapNode;
    if (skip() !== "") return fail("nothing may follow the object", offset);
    return root;
  };
}

/** Indent of a level: tabs unless `.sops.yaml` says how many blanks. */
function indentOf({ indent }: EmitOptions): string {
  return indent === undefined ? "\t" : " ".repeat(indent);
}

function emitNode(node: TreeNode, indent: string, around: string): string {
  const inner = around + indent;
  const block = (open: string, parts: string[], close: string): string =>
    parts.length === 0 ? open + close : `${open}\n${inner}${parts.join(`,\n${inner}`)}\n${around}${close}`;
  const isData = <T extends { kind: string }>(one: T | Comment): one is T => one.kind !== "comment";
  switch (node.kind) {
    case "map": {
      const parts = node.entries
        .filter(isData<Entry>)
        .map(({ key, value }) => `${quote(key)}: ${emitNode(value, indent, inner)}`);
      return block("{", parts, "}");
    }
    case "list":
      return block(
        "[",
        node.items.filter(isData<TreeNode>).map((item) => emitNode(item, indent, inner)),
        "]",
      );
    case "null":
      return "null";
    case "str":
    case "time":
      return quote(node.value);
    case "bytes":
      return quote(Buffer.from(node.value).toString());
    case "float":
      if (!Number.isFinite(node.value)) {
        throw new SopsError("errorDumpingTree", "JSON has no infinite numbers and no NaN", {
          code: "config",
        });
      }
      return Object.is(node.value, -0) ? "-0" : String(node.value);
    default:
      return String(node.value);
  }
}

/** As Go quotes: safe inside HTML. */
function quote(text: string): string {
  return JSON.stringify(text.toWellFormed()).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
