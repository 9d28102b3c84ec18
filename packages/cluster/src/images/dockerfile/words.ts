/** Words, quotes and variables as Dockerfile instructions read them (https://docs.docker.com/reference/dockerfile/#environment-replacement). */

export type Lookup = (name: string) => string | undefined;

/** A fault in the text; the caller knows where it stands. */
export class WordError extends Error {
  override name = "WordError";
}

interface Cursor {
  text: string;
  at: number;
  escape: string;
  lookup: Lookup | undefined;
}

/** Words separated by blanks, quotes removed and variables replaced; without a lookup variables stay as written. */
export function splitWords(text: string, escape: string, lookup?: Lookup): string[] {
  const cursor: Cursor = { text, at: 0, escape, lookup };
  const words: string[] = [];
  while (cursor.at < text.length) {
    if (/\s/.test(text[cursor.at] ?? "")) {
      cursor.at += 1;
      continue;
    }
    words.push(readWord(cursor, (char) => /\s/.test(char)));
  }
  return words;
}

/** The whole text as one word. */
export function expandWord(text: string, escape: string, lookup: Lookup): string {
  return readWord({ text, at: 0, escape, lookup }, () => false);
}

function readWord(cursor: Cursor, ends: (char: string) => boolean): string {
  let word = "";
  while (cursor.at < cursor.text.length) {
    const char = cursor.text[cursor.at] ?? "";
    if (ends(char)) break;
    if (char === "'") {
      const end = cursor.text.indexOf("'", cursor.at + 1);
      if (end === -1) throw new WordError("a single quote is not closed");
      word += cursor.text.slice(cursor.at + 1, end);
      cursor.at = end + 1;
    } else if (char === '"') {
      cursor.at += 1;
      word += readQuoted(cursor);
    } else if (char === cursor.escape) {
      word += cursor.text[cursor.at + 1] ?? "";
      cursor.at += 2;
    } else if (char === "$" && cursor.lookup !== undefined) {
      word += readVariable(cursor);
    } else {
      word += char;
      cursor.at += 1;
    }
  }
  return word;
}

function readQuoted(cursor: Cursor): string {
  let word = "";
  while (cursor.at < cursor.text.length) {
    const char = cursor.text[cursor.at] ?? "";
    if (char === '"') {
      cursor.at += 1;
      return word;
    }
    const next = cursor.text[cursor.at + 1] ?? "";
    if (char === cursor.escape && ['"', "$", cursor.escape].includes(next)) {
      word += next;
      cursor.at += 2;
    } else if (char === "$" && cursor.lookup !== undefined) {
      word += readVariable(cursor);
    } else {
      word += char;
      cursor.at += 1;
    }
  }
  throw new WordError("a double quote is not closed");
}

function readVariable(cursor: Cursor): string {
  const lookup = cursor.lookup ?? (() => undefined);
  const rest = cursor.text.slice(cursor.at + 1);
  const plain = /^(?:[A-Za-z_]\w*|\d)/.exec(rest)?.[0];
  if (plain !== undefined) {
    cursor.at += 1 + plain.length;
    return lookup(plain) ?? "";
  }
  const braced = /^\{([A-Za-z_]\w*)(:?[-+?])?/.exec(rest);
  if (braced === null) {
    if (rest.startsWith("{")) throw new WordError(`"$${rest.slice(0, 12)}" is not a variable`);
    cursor.at += 1;
    return "$";
  }
  const [head, name = "", operator = ""] = braced;
  cursor.at += 1 + head.length;
  const word = readWord(cursor, (char) => char === "}");
  if (cursor.text[cursor.at] !== "}") throw new WordError(`"\${${name}" is not closed`);
  cursor.at += 1;
  if (operator === "" && word !== "") {
    throw new WordError(`"\${${name}${word}}" uses a modifier that is not supported`);
  }
  const value = lookup(name);
  const set = operator.startsWith(":") ? value !== undefined && value !== "" : value !== undefined;
  switch (operator.at(-1)) {
    case "-":
      return set ? (value ?? "") : word;
    case "+":
      return set ? word : "";
    case "?":
      if (!set) throw new WordError(`${name}: ${word || "is not set"}`);
      return value ?? "";
    default:
      return value ?? "";
  }
}
