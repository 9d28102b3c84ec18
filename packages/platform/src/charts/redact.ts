/** Keeps the values of secrets out of what people are shown. */
import { isMapping, type OpenLayer } from "./layers.ts";

export const redacted = "<redacted>";

/** Shorter ones would blot out half of any text, and are no secrets. */
const shortest = 4;

export interface Redactor {
  /** A text with every occurrence of a secret replaced, also one that is encoded for JSON, a URL or a Secret's data. */
  text: (text: string) => string;
  /** A copy of a value with the same done to its strings; numbers that are secrets are replaced too. */
  value: (value: unknown) => unknown;
}

/** For the secrets of all given layers, the overridden ones too. */
export function redactor(layers: OpenLayer[]): Redactor {
  const secrets = new Set(
    layers.filter(({ kind }) => kind === "secrets").flatMap(({ values }) => scalarsOf(values)),
  );
  const long = [...secrets].filter((secret) => secret.length >= shortest);
  const forms = long
    .flatMap((secret) => [
      secret,
      JSON.stringify(secret).slice(1, -1),
      encodeURIComponent(secret),
      Buffer.from(secret).toString("base64"),
    ])
    .sort((a, b) => b.length - a.length);
  const text = (shown: string): string =>
    secrets.has(shown) ? redacted : forms.reduce((rest, form) => rest.replaceAll(form, redacted), shown);
  const value = (shown: unknown): unknown => {
    if (typeof shown === "string") return text(shown);
    if (Array.isArray(shown)) return shown.map(value);
    if (isMapping(shown))
      return Object.fromEntries(Object.entries(shown).map(([key, inner]) => [key, value(inner)]));
    return secrets.has(String(shown)) ? redacted : shown;
  };
  return { text, value };
}

/** Strings and numbers; what is true or false, or empty, is no secret. */
function scalarsOf(value: unknown): string[] {
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(scalarsOf);
  if (typeof value === "string" && value !== "") return [value];
  return typeof value === "number" || typeof value === "bigint" ? [String(value)] : [];
}
