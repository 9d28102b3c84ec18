/** How places in a file are told to people. */
import type { Place } from "./tree.ts";

/** `file:line:column`, as much of it as is known. */
export function formatPlace(file: string | undefined, place?: Place): string | undefined {
  if (place === undefined) return file;
  const position = `${place.line}:${place.column}`;
  return file === undefined ? position : `${file}:${position}`;
}

/** Keys as a path to read: `db.password`; a key that has other characters stands in quotes. */
export function formatPath(keys: readonly (string | number)[]): string {
  if (keys.length === 0) return "the top level";
  return keys
    .map((key, index) => {
      if (typeof key === "number") return `[${key}]`;
      if (!/^[\w-]+$/.test(key)) return `[${JSON.stringify(key)}]`;
      return index === 0 ? key : `.${key}`;
    })
    .join("");
}

/** Turns offsets of a text into places. */
export function placer(text: string): (offset: number) => Place {
  const starts = [0];
  for (let index = text.indexOf("\n"); index !== -1; index = text.indexOf("\n", index + 1))
    starts.push(index + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - starts[low]! + 1 };
  };
}
