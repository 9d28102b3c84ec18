/**
 * INI as the library that sops uses reads and writes it (go-ini): sections of texts, comments above a section or a key,
 * quotes by `"""` or backquotes where a value needs them, equals signs aligned.
 */
import { SopsError } from "../errors.ts";
import { formatPath, formatPlace } from "../place.ts";
import { str, type Comment, type Entry, type MapNode } from "../tree.ts";
import type { Format } from "./format.ts";
import { textOfScalar } from "./text.ts";

/** Where keys above the first section are. */
const defaultSection = "DEFAULT";

export const ini: Format = {
  name: "ini",
  layout: "flat-section",
  parse: (text, file) => [parseIni(text, file)],
  emit: (documents) => emitIni(documents[0] ?? { kind: "map", entries: [] }),
};

interface Line {
  text: string;
  number: number;
}

function parseIni(text: string, file: string | undefined): MapNode {
  const lines = text.split("\n").map((line, index): Line => ({ text: line, number: index + 1 }));
  let section: MapNode = { kind: "map", entries: [] };
  /** A name may come more than once: these are sections of their own. */
  const sections: Entry[] = [{ kind: "entry", key: defaultSection, value: section }];
  /** Of the section. */
  let keys = new Set<string>();
  /** Lines of comments that wait for what they belong to. */
  let comments = "";
  const fail = (message: string, line: Line): never => {
    const at = formatPlace(file, { line: line.number, column: 1 });
    throw new SopsError("errorGeneric", message, { code: "config", at });
  };
  const takeComment = (): Comment[] => {
    const comment = comments.trim();
    comments = "";
    if (comment === "") return [];
    // The sign goes, and with it all blanks and further signs.
    return [{ kind: "comment", text: comment.replace(comment.startsWith(";") ? /^[; ]+/ : /^[# ]+/, "") }];
  };

  for (let index = 0; index < lines.length; index++) {
    const line = lines[index]!;
    const content = line.text.trimStart();
    if (content === "") continue;
    const column = line.text.length - content.length + 1;
    const at = { line: line.number, column };
    if (/^[#;]/.test(content)) {
      comments += `${content}\n`;
    } else if (content.startsWith("[")) {
      const end = content.lastIndexOf("]");
      if (end < 2) fail(end === -1 ? 'a section has to end with "]"' : "a section has to have a name", line);
      const name = content.slice(1, end);
      comments += /[#;].*$/.exec(content.slice(end + 1))?.[0] ?? "";
      section = { kind: "map", entries: takeComment(), at };
      keys = new Set();
      sections.push({ kind: "entry", key: name, value: section, at });
    } else {
      const { key, rest } =
        readKey(content) ?? fail("a line has to be a section, KEY = value or a comment", line);
      const raw = readValue(rest, () => lines[++index]?.text);
      if (raw === undefined) return fail("the quotes of this value are not closed", line);
      comments += raw.comment;
      const value = str(raw.value, {
        line: line.number,
        column: column + content.length - rest.trimStart().length,
      });
      // The library keeps the last one alone, and so encryption would lose the others.
      if (keys.has(key)) fail(`the key ${JSON.stringify(key)} stands here a second time`, line);
      keys.add(key);
      // A comment follows its entry in the tree, as sops keeps it.
      section.entries.push({ kind: "entry", key, value, at }, ...takeComment());
    }
  }
  if ((sections[0]!.value as MapNode).entries.length === 0) sections.shift();
  return { kind: "map", entries: sections };
}

function readKey(content: string): { key: string; rest: string } | undefined {
  const quote = /^("""(?=.{4})|"|`)/.exec(content)?.[0] ?? "";
  const from = quote.length;
  const end = quote === "" ? 0 : content.indexOf(quote, from);
  if (end === -1) return undefined;
  const sign = content.slice(end + from).search(/[=:]/);
  if (sign === -1) return undefined;
  const behind = end + from + sign;
  const key = quote === "" ? content.slice(0, behind) : content.slice(from, end);
  return { key: key.trim(), rest: content.slice(behind + 1) };
}

/** Reads on from `next` where quotes or a backslash at the end of the line say so. */
function readValue(
  rest: string,
  next: () => string | undefined,
): { value: string; comment: string } | undefined {
  const line = rest.trimStart();
  const quote = /^("""(?=.)|`)/.exec(line)?.[0];
  if (quote !== undefined) {
    const from = quote.length;
    const end = line.lastIndexOf(quote);
    if (end >= from) return { value: line.slice(from, end), comment: "" };
    let value = `${line.slice(from)}\n`;
    for (;;) {
      const more = next();
      if (more === undefined) return undefined;
      const close = more.lastIndexOf(quote);
      if (close === -1) {
        value += `${more}\n`;
        continue;
      }
      const comment = /[#;].*$/.exec(more.slice(close))?.[0].trim() ?? "";
      return { value: value + more.slice(0, close), comment };
    }
  }
  let value = line.trim();
  if (value.endsWith("\\")) {
    while (value.endsWith("\\")) {
      const more = next()?.trim() ?? "";
      value = value.slice(0, -1) + more;
      if (more === "") break;
    }
    return { value, comment: "" };
  }
  const sign = value.search(/[#;]/);
  const comment = sign === -1 ? "" : value.slice(sign);
  if (sign !== -1) value = value.slice(0, sign).trim();
  const quoted = /^(['"])(.*)\1$/.exec(value);
  if (quoted !== null && !quoted[2]!.includes(quoted[1]!)) value = quoted[2]!;
  return { value, comment };
}

function emitIni(document: MapNode): string {
  const sections = document.entries.filter((entry) => entry.kind === "entry");
  return sections
    .map(({ key, value }, index) => {
      if (value.kind !== "map") throw notAText(formatPath([key]), "a section has to hold keys");
      const header = index === 0 && key === defaultSection ? "" : `[${key}]\n`;
      const isHeaded = value.entries[0]?.kind === "comment";
      const heading = isHeaded ? commentLines(value.entries[0] as Comment) : "";
      return heading + header + emitKeys(key, isHeaded ? value.entries.slice(1) : value.entries);
    })
    .join("\n");
}

function emitKeys(section: string, entries: MapNode["entries"]): string {
  const keys = entries.flatMap((entry, index) => {
    if (entry.kind === "comment") return [];
    const { value } = entry;
    if (value.kind === "map" || value.kind === "list") {
      throw notAText(formatPath([section, entry.key]), "only a single value can stand in a section");
    }
    const after = entries[index + 1];
    const comment = after?.kind === "comment" ? commentLines(after) : "";
    return [{ name: quotedKey(entry.key), text: quotedValue(textOfScalar(value)), comment }];
  });
  const width = Math.max(0, ...keys.map(({ name }) => Buffer.byteLength(name)));
  return keys
    .map(
      ({ name, text, comment }) =>
        `${comment}${name}${" ".repeat(width - Buffer.byteLength(name))} = ${text}\n`,
    )
    .join("");
}

function commentLines({ text }: Comment): string {
  return text
    .split("\n")
    .map((line) => (/^[#;]/.test(line) ? `${line[0]!} ${line.slice(1).trim()}\n` : `; ${line.trim()}\n`))
    .join("");
}

function quotedKey(key: string): string {
  if (/["=:]/.test(key)) return `\`${key}\``;
  return key.includes("`") ? `"""${key}"""` : key;
}

function quotedValue(text: string): string {
  if (/[\n`]/.test(text)) return `"""${text}"""`;
  if (/[#;]/.test(text)) return `\`${text}\``;
  return text.trim() === text ? text : `"${text}"`;
}

function notAText(where: string, why: string): SopsError {
  return new SopsError("errorDumpingTree", `${where} cannot be written as INI: ${why}`, { code: "config" });
}
