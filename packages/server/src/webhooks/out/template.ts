/** Templates of messages: text with `{{name}}` in it and nothing else, so that a template can neither loop nor run anything. */
import { UserError } from "@kws/base/errors";

const placeholder = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** Puts the values in, each in the channel's own escaping; what has no value is left out. */
export function render(
  template: string,
  values: Readonly<Record<string, string>>,
  escape: (value: string) => string,
): string {
  return template.replaceAll(placeholder, (_all, name: string) =>
    Object.hasOwn(values, name) ? escape(values[name] ?? "") : "",
  );
}

/** Refuses a template with names that no message has. Throws a `config` `UserError`. */
export function checkTemplate(template: string, known: readonly string[]): void {
  for (const [, name = ""] of template.matchAll(placeholder)) {
    if (known.includes(name)) continue;
    throw new UserError(`a message has no "${name}"`, {
      code: "config",
      fix: `Use ${known.map((one) => `{{${one}}}`).join(", ")}.`,
    });
  }
}

/** At most so many characters; what others show or take is limited. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
