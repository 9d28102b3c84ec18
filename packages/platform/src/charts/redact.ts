/** Keeps the values of secrets out of what people are shown. */
import { isMap, isScalar, parseAllDocuments, visit } from "yaml";
import { effectiveValues, isMapping, type OpenLayer, type Values } from "./layers.ts";
import { leavesOf } from "./origins.ts";

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
  // Templates trim texts and indent those of several lines, so each line counts.
  const parts = [...secrets].flatMap((secret) => secret.split("\n")).concat(...secrets);
  const long = [...new Set([...secrets, ...parts.map((part) => part.trim())])].filter(
    (part) => part.length >= shortest,
  );
  const forms = long.flatMap(formsOf).sort((a, b) => b.length - a.length);
  const anywhere = new RegExp(forms.map(escaped).join("|") || "(?!)", "g");
  const text = (shown: string): string =>
    secrets.has(shown) ? redacted : shown.replaceAll(anywhere, redacted);
  const value = (shown: unknown): unknown => {
    if (typeof shown === "string") return text(shown);
    if (Array.isArray(shown)) return shown.map(value);
    if (isMapping(shown))
      return Object.fromEntries(Object.entries(shown).map(([key, inner]) => [key, value(inner)]));
    return secrets.has(String(shown)) ? redacted : shown;
  };
  return { text, value };
}

/**
 * As it is written itself, in JSON, in a URL, and in a Secret's data. Templates write the first as Go's encoding/json does,
 * which escapes what HTML gives a meaning to, and the second as Go's `url.QueryEscape` does.
 */
function formsOf(secret: string): string[] {
  const inJson = JSON.stringify(secret).slice(1, -1);
  const inGo = inJson.replaceAll(/[<>&\u2028\u2029]/g, (char) => String.raw`\u${hex(char, 4)}`);
  const inUrl = encodeURIComponent(secret.toWellFormed());
  const inQuery = inUrl.replaceAll(/[!'()*]/g, (char) => `%${hex(char, 2).toUpperCase()}`);
  const encoded = [inJson, inGo, inUrl, inQuery, inQuery.replaceAll("%20", "+")];
  return [...new Set([secret, ...encoded, Buffer.from(secret).toString("base64")])];
}

function hex(char: string, length: number): string {
  return char.charCodeAt(0).toString(16).padStart(length, "0");
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
}

/** Strings and numbers; what is true or false, or empty, is no secret. */
function scalarsOf(value: unknown): string[] {
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(scalarsOf);
  if (typeof value === "string" && value !== "") return [value];
  return typeof value === "number" || typeof value === "bigint" ? [String(value)] : [];
}

/** The merged values without what comes from secrets, or equals one. */
export function redactValues(layers: OpenLayer[]): Values {
  const secret = leavesOf(layers).filter(
    ({ removed, origin }) => !removed && origin.layer.kind === "secrets",
  );
  const values = secret.reduce((all, { keys }) => hideAt(all, keys), effectiveValues(layers));
  return redactor(layers).value(values) as Values;
}

function hideAt(values: Values, [key = "", ...rest]: string[]): Values {
  const inner = values[key];
  return { ...values, [key]: rest.length > 0 && isMapping(inner) ? hideAt(inner, rest) : redacted };
}

/** Manifests, as YAML, without what Secrets hold and without any secret elsewhere. */
export function redactManifests(text: string, layers: OpenLayer[]): string {
  const hide = redactor(layers);
  const documents = parseAllDocuments(text);
  for (const document of documents) {
    visit(document, {
      Map(_key, map) {
        if (map.get("kind") !== "Secret") return;
        for (const name of ["data", "stringData"]) {
          const data = map.get(name);
          if (isMap(data)) for (const { key } of data.items) data.set(key, redacted);
        }
      },
      Scalar(position, node) {
        if (position !== "key" && isScalar(node)) node.value = hide.value(node.value);
      },
    });
  }
  return hide.text(documents.map((document) => document.toString({ lineWidth: 0 })).join(""));
}
