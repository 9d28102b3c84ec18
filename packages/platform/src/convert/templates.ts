/** YAML of chart templates: objects whose values may be expressions of Helm, and whose text is what it is, braces and all. */
import { stringify } from "yaml";

/** What stands for an expression while YAML is made: two characters that no text has. */
const [open, close] = ["\uE000", "\uE001"];

interface Marked {
  /** In the place of a value, below a key, or in the place of a key and its value. */
  kind: "value" | "block" | "keys";
  text: (indent: number) => string;
}

/** Makes the text of one template file. Expressions are of this file alone. */
export class Template {
  readonly #marked: Marked[] = [];

  /** A value that is an expression: `{{ … }}`. */
  expression(text: string): string {
    return this.#mark({ kind: "value", text: () => text });
  }

  /** A value of several lines: `expression` makes YAML of it. */
  block(expression: string): string {
    return this.#mark({ kind: "block", text: (indent) => `{{- ${expression} | nindent ${indent + 2} }}` });
  }

  /** A key, of value null, that stands for the keys which `expression` makes. It cannot be the first of a list's item. */
  keys(expression: string): string {
    return this.#mark({ kind: "keys", text: (indent) => `{{- ${expression} | nindent ${indent} }}` });
  }

  /** Like `keys`, for one key that is there where its value is not empty. */
  optional(key: string, value: string): string {
    return this.#mark({
      kind: "keys",
      text: (indent) =>
        [`{{- with ${value} }}`, `${key}: {{ . | quote }}`, "{{- end }}"].join(`\n${" ".repeat(indent)}`),
    });
  }

  /** Like `keys`, for one key that is there where its value is, whatever it is. */
  maybe(key: string, value: string): string {
    const quoted = yamlText(key).trimEnd();
    return this.#mark({
      kind: "keys",
      text: (indent) =>
        [
          `{{- if not (kindIs "invalid" ${value}) }}`,
          `${quoted}: {{ ${value} | toJson }}`,
          "{{- end }}",
        ].join(`\n${" ".repeat(indent)}`),
    });
  }

  #mark(marked: Marked): string {
    this.#marked.push(marked);
    return `${open}${this.#marked.length - 1}${close}`;
  }

  write(object: object): string {
    const lines = yamlText(object).replaceAll("{{", '{{ "{{" }}').split("\n");
    return lines.map((line) => this.#line(line)).join("\n");
  }

  #line(line: string): string {
    const indent = /^(?: |- )*/.exec(line)?.[0].length ?? 0;
    return line
      .replace(new RegExp(`${open}(\\d+)${close}(?:: null$)?`, "g"), (found, index: string) => {
        const { kind, text } = this.#marked[Number(index)] ?? { kind: "value", text: () => found };
        if (kind === "value") return text(indent) + (found.endsWith(": null") ? ": null" : "");
        return kind === "keys" ? text(indent) : `\n${" ".repeat(indent + 2)}${text(indent)}`;
      })
      .replace(/: \n/, ":\n");
  }
}

/** As Helm's parser reads it, which is older than YAML 1.2. */
export function yamlText(value: unknown): string {
  return stringify(value, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
}
