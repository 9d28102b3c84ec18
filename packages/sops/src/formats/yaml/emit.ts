/**
 * Writes YAML as go-yaml v3 does: block style, one style of quotes for each need, literal blocks for texts of several lines,
 * lines never folded.
 */
import { SopsError } from "../../errors.ts";
import { general } from "../../numbers.ts";
import type { Comment, Entry, ListNode, MapNode, Scalar, TreeNode } from "../../tree.ts";
import { isPlainText } from "./scalars.ts";

/** Longer keys are not found by a reader of YAML unless `?` announces them. */
const longestSimpleKey = 128;

export function emitDocuments(documents: readonly MapNode[], indent: number): string {
  return documents
    .map((document) => {
      const page: Page = { lines: [], gap: false };
      emitMap(document, { page, step: indent, indent: 0 });
      return `${page.lines.join("\n")}\n`;
    })
    .join("---\n");
}

interface Page {
  lines: string[];
  /** The next line, if there is one, comes after an empty one. */
  gap: boolean;
}

interface Output {
  page: Page;
  /** Blanks per level. */
  step: number;
  indent: number;
  /** What the next line begins with instead of its indent: the dash of an item. */
  lead?: string;
}

type Child = Entry | TreeNode | Comment;

function push(output: Output, text: string): void {
  const { page } = output;
  if (page.gap) page.lines.push("");
  page.gap = false;
  page.lines.push((output.lead ?? " ".repeat(output.indent)) + text);
  delete output.lead;
}

/** Children of a map stand at the next multiple of the step. */
function below({ page, step, indent }: Output): Output {
  return { page, step, indent: step * (Math.floor(indent / step) + 1) };
}

function isComment(child: Child): child is Comment {
  return child.kind === "comment";
}

function childrenOf(node: TreeNode): readonly Child[] {
  if (node.kind === "map") return node.entries;
  return node.kind === "list" ? node.items : [];
}

function isBlock(node: TreeNode | undefined): boolean {
  return node !== undefined && childrenOf(node).some((child) => !isComment(child));
}

function pushComments(output: Output, comments: readonly Comment[]): void {
  for (const { text } of comments) push(output, `#${text}`);
}

/** Writes the comments before a node. The last that stood behind it on its line is answered, to go there again. */
function pushHead(output: Output, comments: Comment[]): string {
  const inline = comments.findLast((comment) => comment.inline);
  pushComments(
    output,
    comments.filter((comment) => comment !== inline),
  );
  comments.length = 0;
  return inline === undefined ? "" : ` #${inline.text}`;
}

function emitMap(map: MapNode, output: Output): void {
  const comments: Comment[] = [];
  let last: TreeNode | undefined;
  for (const entry of map.entries) {
    if (isComment(entry)) {
      comments.push(entry);
      continue;
    }
    const inline = pushHead(output, comments);
    const key = keyText(entry.key);
    if (key.length <= longestSimpleKey) emitValue(`${key}:`, entry.value, output, inline, false);
    else {
      push(output, `? ${key}`);
      emitValue(":", entry.value, output, inline, false);
    }
    last = entry.value;
  }
  pushComments(output, comments);
  // Without an empty line below, a reader would take them for comments on what stands last inside of that block, and an
  // encrypted comment could not be opened there.
  if (comments.length > 0 && output.indent > 0 && isBlock(last)) output.page.gap = true;
  if (last === undefined) push(output, "{}");
}

function emitList(list: ListNode, output: Output): void {
  const comments: Comment[] = [];
  for (const item of list.items) {
    if (isComment(item)) comments.push(item);
    else if (isBlock(item)) emitBlockItem(item as MapNode | ListNode, output, pushHead(output, comments));
    else emitValue("-", item, output, pushHead(output, comments), true);
  }
  pushComments(output, comments);
}

/** A collection as an item begins on the line of its dash; comments at its beginning have to stand before that. */
function emitBlockItem(item: MapNode | ListNode, output: Output, inline: string): void {
  const children = childrenOf(item);
  const first = children.findIndex((child) => !isComment(child));
  const leading = children.slice(0, first).filter(isComment);
  if (inline !== "") push(output, inline.trimStart());
  pushComments(
    output,
    leading.filter((comment) => !comment.inline),
  );
  const { page, step, indent } = output;
  const inner: Output = { page, step, indent: indent + 2, lead: `${output.lead ?? " ".repeat(indent)}- ` };
  delete output.lead;
  const rest = [...leading.filter((comment) => comment.inline), ...children.slice(first)];
  if (item.kind === "map") emitMap({ kind: "map", entries: rest as MapNode["entries"] }, inner);
  else emitList({ kind: "list", items: rest as ListNode["items"] }, inner);
}

function emitValue(start: string, node: TreeNode, output: Output, inline: string, isItem: boolean): void {
  const inner = isItem ? { ...output, indent: output.indent + 2 } : below(output);
  delete inner.lead;
  if (node.kind === "map" || node.kind === "list") {
    const children = childrenOf(node);
    if (children.every(isComment)) {
      const [open, close] = node.kind === "map" ? ["{", "}"] : ["[", "]"];
      if (children.length === 0) push(output, `${start} ${open}${close}${inline}`);
      else {
        // Only between brackets does a comment belong to a collection that holds nothing else.
        push(output, `${start} ${open}`);
        pushComments(inner, children);
        push(inner, close);
      }
      return;
    }
    push(output, `${start}${inline}`);
    if (node.kind === "map") emitMap(node, inner);
    else emitList(node, inner);
    return;
  }
  if (node.kind === "str" && isLiteral(node.value)) {
    emitLiteral(start, node.value, output, inner, inline);
    return;
  }
  push(output, `${start} ${scalarText(node)}${inline}`);
}

function emitLiteral(start: string, text: string, output: Output, inner: Output, inline: string): void {
  const hint = /^[ \n]/.test(text) ? String(inner.indent - output.indent) : "";
  const chomp = !text.endsWith("\n") ? "-" : /(^|\n)\n$/.test(text) ? "+" : "";
  push(output, `${start} |${hint}${chomp}${inline}`);
  for (const line of text.replace(/\n$/, "").split("\n")) {
    output.page.lines.push(line === "" ? "" : " ".repeat(inner.indent) + line);
  }
}

function scalarText(scalar: Scalar): string {
  switch (scalar.kind) {
    case "null":
      return "null";
    case "str":
      return quotedAsNeeded(scalar.value);
    case "bytes":
      return `!!binary ${Buffer.from(scalar.value).toString("base64")}`;
    case "float":
      if (Number.isNaN(scalar.value)) return ".nan";
      if (!Number.isFinite(scalar.value)) return scalar.value > 0 ? ".inf" : "-.inf";
      return general(scalar.value);
    default:
      return String(scalar.value);
  }
}

function keyText(key: string): string {
  if (key.length > 1024)
    throw new SopsError("errorDumpingTree", "a key is longer than 1024 characters", { code: "config" });
  return quotedAsNeeded(key);
}

function quotedAsNeeded(text: string): string {
  if (!isPlainText(text)) return doubleQuoted(text);
  if (/\n/.test(text) || needsEscapes(text)) return doubleQuoted(text);
  return mayBePlain(text) ? text : `'${text.replaceAll("'", "''")}'`;
}

/** What YAML does not let stand for itself, and what no printer can show. */
// oxlint-disable-next-line eslint/no-control-regex
const special = /[^\n\t\u0020-\u007e\u00a0-\ufefe\uff00-\ufffd]|[\u2028\u2029]/u;

function needsEscapes(text: string): boolean {
  return special.test(text) || text.includes("\t");
}

function isLiteral(text: string): boolean {
  return text.includes("\n") && !special.test(text) && !/ \n| $/.test(text);
}

function mayBePlain(text: string): boolean {
  if (/^[#,[\]{}&*!|>'"%@` ]|^[?:-](?: |$)|: |:$| #| $|^(?:---|\.\.\.)/.test(text)) return false;
  return true;
}

const escapes: Record<string, string> = {
  "\0": "\\0",
  "\u0007": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\u001b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\u0085": "\\N",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function doubleQuoted(text: string): string {
  const inner = Array.from(text, (char) => {
    const known = escapes[char];
    if (known !== undefined) return known;
    if (!special.test(char)) return char;
    const code = char.codePointAt(0)!;
    const hex = code.toString(16).toUpperCase();
    if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  }).join("");
  return `"${inner}"`;
}
