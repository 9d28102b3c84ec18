/** dotenv: `KEY=value` lines and `#` comments. Values end with their line; line breaks in them are written `\n`. */
import { SopsError } from "../errors.ts";
import { formatPlace } from "../place.ts";
import { str, type Entry, type MapNode } from "../tree.ts";
import type { Format } from "./format.ts";
import { textOfScalar } from "./text.ts";

export const dotenv: Format = {
  name: "dotenv",
  layout: "flat",
  parse: (text, file) => [
    {
      kind: "map",
      entries: text.split("\n").flatMap((line, index): MapNode["entries"] => {
        if (line === "") return [];
        if (line.startsWith("#"))
          return [{ kind: "comment", text: line.slice(1), at: { line: index + 1, column: 1 } }];
        const sign = line.indexOf("=");
        if (sign === -1) {
          throw new SopsError("errorGeneric", "a line has to be KEY=value or a comment", {
            code: "config",
            at: formatPlace(file, { line: index + 1, column: 1 }),
          });
        }
        const value = line.slice(sign + 1).replaceAll("\\n", "\n");
        return [
          {
            kind: "entry",
            key: line.slice(0, sign),
            value: str(value, { line: index + 1, column: sign + 2 }),
            at: { line: index + 1, column: 1 },
          },
        ];
      }),
    },
  ],
  emit: (documents) =>
    (documents[0]?.entries ?? [])
      .map((entry) => (entry.kind === "comment" ? `#${entry.text}\n` : `${entry.key}=${valueText(entry)}\n`))
      .join(""),
};

function valueText({ key, value }: Entry): string {
  if (value.kind === "map" || value.kind === "list") {
    throw new SopsError(
      "errorDumpingTree",
      `${key} is no single value, which is all that a dotenv file can hold`,
      {
        code: "config",
      },
    );
  }
  return textOfScalar(value).replaceAll("\n", "\\n");
}
