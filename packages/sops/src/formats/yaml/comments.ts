/**
 * Which node a comment of a YAML file belongs to. The format encrypts comments with the path of the map or list that they
 * are in, so this has to come out as in go-yaml's scanner (`yaml_parser_scan_comments`): by the comment's column, the blank
 * lines around it, and what stands before and after it.
 */
import {
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type CST,
  type Document,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";

/** The comments of one node. */
export interface Notes {
  /** On lines of their own above the node. */
  head: Note[];
  /** Behind the node, on its line. */
  line: Note[];
  /** Below the node; those of an entry of a map are kept with its key. */
  foot: Note[];
}

export interface Note {
  offset: number;
  /** Without its sign. */
  text: string;
}

/** The notes of a node, empty ones where it has none; not to be changed. */
export type NotesOf = (node: object) => Notes;

const noNotes: Notes = { head: [], line: [], foot: [] };

/** A block that is open somewhere in the text, and the keys or items in it. */
interface Block {
  indent: number;
  targets: object[];
}

/** Something that is no comment, in the order of the text. */
interface Mark {
  role: "key" | "value" | "dash" | "open" | "close";
  offset: number;
  /** Takes comments behind it. */
  node: object;
  /** The key or the item that it is part of: takes comments below it. */
  entry: object;
  /** Innermost last. */
  blocks: readonly Block[];
}

interface SourceComment extends Note {
  column: number;
  /** Line breaks since whatever stands before: none behind content, two or more after a blank line. */
  breaks: number;
}

/** Attaches all comments of a stream to nodes of its documents; a document itself takes what follows its content. */
export function attachComments(
  text: string,
  tokens: readonly CST.Token[],
  documents: readonly Document.Parsed[],
): NotesOf {
  const notes = new WeakMap<object, Notes>();
  const notesOf = (node: object): Notes => {
    let found = notes.get(node);
    if (found === undefined) notes.set(node, (found = { head: [], line: [], foot: [] }));
    return found;
  };
  const comments = commentsOf(text, tokens);
  if (comments.length === 0) return () => noNotes;
  const starts = tokens.filter((token) => token.type === "document").map(startOf);
  documents.forEach((document, index) => {
    const from = index === 0 ? 0 : starts[index]!;
    const to = starts[index + 1] ?? Infinity;
    const own = comments.filter(({ offset }) => offset >= from && offset < to);
    attachToDocument(own, marksOf(text, document), document, notesOf, text);
  });
  return (node) => notes.get(node) ?? noNotes;
}

/** Where a document begins: at its `---`, if it has one. */
function startOf(token: CST.Document): number {
  return token.start.find(({ type }) => type === "doc-start")?.offset ?? token.offset;
}

function commentsOf(text: string, tokens: readonly CST.Token[]): SourceComment[] {
  const found: SourceComment[] = [];
  const visit = (token: unknown): void => {
    if (Array.isArray(token)) {
      for (const one of token) visit(one);
      return;
    }
    if (typeof token !== "object" || token === null) return;
    if ("type" in token && token.type === "comment") {
      const { offset, source } = token as CST.SourceToken;
      found.push({
        offset,
        column: columnAt(text, offset),
        text: source.slice(1).replace(/\r$/, ""),
        breaks: breaksBefore(text, offset),
      });
      return;
    }
    for (const part of ["start", "key", "sep", "value", "props", "items", "end"] as const) {
      if (part in token) visit((token as Record<string, unknown>)[part]);
    }
  };
  visit(tokens);
  return found.sort((a, b) => a.offset - b.offset);
}

/** Line breaks between an offset and whatever stands before it, infinitely many where nothing does. */
function breaksBefore(text: string, offset: number): number {
  let breaks = 0;
  for (let index = offset - 1; index >= 0; index--) {
    if (text[index] === "\n") breaks++;
    else if (!/\s/.test(text[index]!)) return breaks;
  }
  return Infinity;
}

function columnAt(text: string, offset: number): number {
  return offset - (text.lastIndexOf("\n", offset - 1) + 1);
}

function marksOf(text: string, document: Document.Parsed): Mark[] {
  const marks: Mark[] = [];
  const visitChild = (node: unknown, entry: object, blocks: readonly Block[]): void => {
    if (isCollection(node)) visit(node, entry, blocks);
    else if (isScalar(node) || isAlias(node)) {
      const range = node.range;
      // What is not written has no place.
      if (range && range[1] > range[0]) marks.push({ role: "value", offset: range[0], node, entry, blocks });
    }
  };
  const visit = (node: YAMLMap | YAMLSeq, entry: object, around: readonly Block[]): void => {
    const [start, end] = node.range!;
    if (node.flow) marks.push({ role: "open", offset: start, node, entry: node, blocks: around });
    const dashes = isSeq(node) && !node.flow ? dashesOf(node) : undefined;
    const first = isMap(node)
      ? (node.items[0]?.key as { range?: number[] } | undefined)?.range?.[0]
      : dashes?.[0];
    const block: Block = { indent: columnAt(text, first ?? start), targets: [] };
    const blocks = node.flow ? around : [...around, block];
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        const target = key as object & { range?: number[] };
        marks.push({ role: "key", offset: target.range?.[0] ?? start, node: target, entry: target, blocks });
        block.targets.push(target);
        visitChild(value, target, blocks);
      }
    } else {
      node.items.forEach((item, index) => {
        const target = item as object;
        if (dashes)
          marks.push({ role: "dash", offset: dashes[index] ?? start, node: target, entry: target, blocks });
        block.targets.push(target);
        visitChild(item, target, blocks);
      });
    }
    if (node.flow) marks.push({ role: "close", offset: end - 1, node, entry, blocks: around });
  };
  if (document.contents !== null) visitChild(document.contents, document, []);
  return marks;
}

function dashesOf(sequence: YAMLSeq): number[] {
  const source = sequence.srcToken as CST.BlockSequence | undefined;
  return (source?.items ?? []).flatMap(({ start }) => {
    const dash = start.find(({ type }) => type === "seq-item-ind");
    return dash === undefined ? [] : [dash.offset];
  });
}

function attachToDocument(
  comments: readonly SourceComment[],
  marks: readonly Mark[],
  document: object,
  notesOf: NotesOf,
  text: string,
): void {
  let next = 0;
  for (let index = 0; index < comments.length;) {
    const comment = comments[index]!;
    while (next < marks.length && marks[next]!.offset < comment.offset) next++;
    const previous = marks[next - 1];
    if (
      comment.breaks === 0 &&
      previous !== undefined &&
      previous.role !== "dash" &&
      previous.role !== "open"
    ) {
      notesOf(previous.node).line.push(comment);
      index++;
      continue;
    }
    const until = marks[next]?.offset ?? Infinity;
    let end = index + 1;
    while (end < comments.length && comments[end]!.offset < until) end++;
    const run = comments.slice(index, end);
    attachRun(run, previous, marks[next], document, notesOf, text);
    index = end;
  }
}

/** Comments on lines of their own between two marks. */
function attachRun(
  run: readonly SourceComment[],
  previous: Mark | undefined,
  next: Mark | undefined,
  document: object,
  notesOf: NotesOf,
  text: string,
): void {
  const indent = previous?.blocks.at(-1)?.indent ?? 0;
  let segment: SourceComment[] = [];
  /** No blank line yet since `previous`. */
  let adjoining = run[0]!.breaks <= 1;
  /** Nothing between `previous` and the segment belongs to something else. */
  let first = true;

  const toFoot = (target: object): void => {
    notesOf(target).foot.push(...segment);
    segment = [];
    first = false;
  };
  const toHead = (): void => {
    if (next === undefined) toFoot(document);
    else if (next.role === "close") toFoot(previous?.entry ?? document);
    else {
      notesOf(next.node).head.push(...segment);
      segment = [];
    }
  };
  /** Left of the block that `previous` is in: of an outer block that ends here, or of what precedes `next`. */
  const toOuter = (column: number): void => {
    const ended = previous!.blocks.findLast(
      (block) => block.indent === column && !next?.blocks.includes(block),
    );
    const last = ended?.targets.at(-1) ?? before(next);
    if (last === undefined) toHead();
    else toFoot(last);
  };
  const toPrevious = (): void => {
    if (!first) toOuter(segment[0]!.column);
    else if (previous === undefined || previous.role === "dash" || previous.role === "open") toHead();
    else toFoot(previous.entry);
  };
  const onBlankLine = (): void => {
    const start = segment[0];
    if (start !== undefined && adjoining && previous !== undefined) {
      if (start.column < indent) toOuter(start.column);
      else if (start.breaks === 1 && previous.role !== "key") toPrevious();
    }
    adjoining = false;
  };

  for (const comment of run) {
    if (segment.length > 0 && comment.breaks > 1) onBlankLine();
    if (segment.length > 0 && comment.column < indent && comment.column !== segment[0]!.column) toPrevious();
    segment.push(comment);
  }
  const last = run.at(-1)!;
  const rest = text.slice(last.offset, next?.offset);
  const nextColumn = next === undefined ? 0 : columnAt(text, next.offset);
  if (next === undefined || /\n[ \t]*\r?\n/.test(rest)) onBlankLine();
  if (segment.length > 0 && next !== undefined && nextColumn < indent && nextColumn !== segment[0]!.column)
    toPrevious();
  if (segment.length > 0) toHead();
}

/** The entry before a key or an item in the same block. */
function before(mark: Mark | undefined): object | undefined {
  const targets = mark?.blocks.at(-1)?.targets ?? [];
  return targets[targets.indexOf(mark?.node ?? targets) - 1];
}
