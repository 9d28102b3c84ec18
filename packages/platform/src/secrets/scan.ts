/**
 * Finds what looks like a secret in plain text: tokens and keys whose form is known (secretlint's rules), and values whose
 * key says that they are secret. What was found is told by its place, never by its content.
 */
import { keyPath, type KeyPath } from "../project/key-path.ts";
import { parseYaml } from "../project/yaml-file.ts";

export interface Finding {
  /** `file:line:column`. */
  at: string;
  /** What it looks like, such as `GitHub token` or `a value named password`. */
  what: string;
  /** In YAML: the key that holds it. */
  key?: string;
  /** Known by its form; otherwise only by its key's name. */
  certain: boolean;
}

/** Looks at one file's text. `file` names it in what is found, and its ending says whether it is YAML or JSON. */
export async function scanText(file: string, text: string): Promise<Finding[]> {
  const known = [...privateKeys(file, text), ...(await knownForms(file, text))];
  const lines = new Set(known.map(({ at }) => lineOf(at)));
  const named = /\.(ya?ml|json)$/.test(file) ? namedValues(file, text) : [];
  return [...known, ...named.filter(({ at }) => !lines.has(lineOf(at)))].sort(
    (a, b) => order(a.at) - order(b.at),
  );
}

function lineOf(at: string): string {
  return at.slice(0, at.lastIndexOf(":"));
}

function order(at: string): number {
  const [line = "0", column = "0"] = at.split(":").slice(-2);
  return Number(line) * 1e6 + Number(column);
}

/** The armor of a key with the key in it, headers before it or none, also with its line breaks escaped; an age identity. */
const privateKey =
  /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:(?:\\[nr]|\s)+[\w-]+: [^\n\\]*)*(?:\\[nr]|\s)+[A-Za-z0-9+/=]{32}|AGE-(?:SECRET-KEY-(?:PQ-)?|PLUGIN-[A-Z0-9]+-)1[0-9A-Z]{20,}/g;
/** The beginning of `-----BEGIN …` in base64, as a Secret's data has it, in one line or in several. */
const encoded = /LS0tLS1CRUdJTi[A-Za-z0-9+/\s]{20,400}/g;

/** Private keys of PEM files, PGP and age, also in base64. */
export function privateKeys(file: string, text: string): Finding[] {
  const inBase64 = [...text.matchAll(encoded)].filter(([match]) =>
    Buffer.from(match, "base64").toString("latin1").match(privateKey),
  );
  return [...text.matchAll(privateKey), ...inBase64].map(({ index }) => ({
    at: `${file}:${place(text, index)}`,
    what: "private key",
    certain: true,
  }));
}

function place(text: string, offset: number): string {
  const before = text.slice(0, offset);
  return `${before.split("\n").length}:${offset - before.lastIndexOf("\n")}`;
}

async function knownForms(file: string, text: string): Promise<Finding[]> {
  const [{ lintSource }, { creator }] = await Promise.all([
    import("@secretlint/core"),
    import("@secretlint/secretlint-rule-preset-recommend"),
  ]);
  const id = "@secretlint/secretlint-rule-preset-recommend";
  const { messages } = await lintSource({
    source: { filePath: file, content: text, contentType: "text" },
    options: { config: { rules: [{ id, rule: creator }] }, maskSecrets: true, noPhysicFilePath: true },
  });
  return messages
    .filter(({ ruleId }) => !ruleId.endsWith("-privatekey"))
    .map(({ loc, message }) => ({
      at: `${file}:${loc.start.line}:${loc.start.column + 1}`,
      // "found GitHub Token(****): ****"
      what: /^found ([^(:*]+)/i.exec(message)?.[1]?.trim() ?? "known form of a secret",
      certain: true,
    }));
}

const secretName =
  /(^|[-_.])(pass(word|wd|phrase)?|secret|token|credentials?|(api|private|access|signing|encryption|secret)[-_]?key)s?$/;
/** Kubernetes' way of naming a Secret, such as `existingSecret`. */
const reference = /^(existing|image|image[-_]?pull)[-_]?secrets?$/i;
/** A sentence about one. */
const prose = /^(\S+\s+){7}/;
/** Values that stand for one that comes from elsewhere. */
const placeholder = /^(|changeme|change-me|todo|x+|\*+|<.*>|\$\{.*\}|\$\(.*\)|\{\{.*\}\})$/i;

/** Whether what has this name, such as a variable or a key, is meant to be secret. */
export function isSecretName(name: string): boolean {
  return secretName.test(snake(name)) && !reference.test(name);
}

function namedValues(file: string, text: string): Finding[] {
  const parsed = parseYaml(file, text);
  const found: Finding[] = [];
  walk(parsed.value, [], (path, value) => {
    const name = path.findLast((part) => typeof part === "string") ?? "";
    if (typeof value !== "string" || !isSecretName(name)) return;
    // The names of variables, as steps of pipelines list the secrets that they get.
    if (typeof path.at(-1) === "number" && /^[A-Z][A-Z0-9_]*$/.test(value)) return;
    if (placeholder.test(value) || prose.test(value) || value.startsWith("ENC[")) return;
    found.push({
      at: parsed.at(path),
      what: `a value named ${name}`,
      key: keyPath(path),
      certain: false,
    });
  });
  return found;
}

/** `databasePassword` and `DATABASE-PASSWORD` alike. */
function snake(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();
}

function walk(value: unknown, path: KeyPath, visit: (path: KeyPath, value: unknown) => void): void {
  if (Array.isArray(value)) for (const [index, item] of value.entries()) walk(item, [...path, index], visit);
  else if (typeof value === "object" && value !== null)
    for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key], visit);
  else visit(path, value);
}
