/** Reads the text of request bodies, and tells which keys stand in them twice. */
import {
  type DocumentOptions,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type ParseOptions,
  type SchemaOptions,
} from "yaml";
import { SchemaError } from "./error.ts";

/** Deeper than any real object, and shallow enough for every recursive walk over it. */
const maximumDepth = 1000;
/** More duplicates than this are not told, as upstream: every one is a path, and paths of a hostile body are long. */
const maximumDuplicates = 100;

export interface Parsed {
  object: unknown;
  /** Paths of keys that occur more than once in one object, such as `spec.replicas`; looked for when first read. */
  readonly duplicates: string[];
}

/** Throws `SchemaError` for text that is no JSON or YAML, is nested too deeply or unfolds a bomb of YAML aliases. */
export function parseObject(text: string, format: "json" | "yaml"): Parsed {
  // Clients send JSON under a YAML content type, and JSON is far cheaper to read.
  if (format === "json" || text.trimStart().startsWith("{")) {
    try {
      const object: unknown = JSON.parse(text);
      limitDepth(object, 0);
      return once(object, () => duplicateKeys(text));
    } catch (error) {
      if (error instanceof SchemaError) throw error;
      if (format === "json") throw new SchemaError(`invalid JSON: ${messageOf(error)}`, { cause: error });
    }
  }
  return parseYaml(text);
}

/**
 * The keys that occur twice, with their lines, as upstream's YAML reader words them; for text that `parseObject` has read.
 * JSON is YAML.
 */
export function duplicateLines(text: string): string[] {
  const lines = new LineCounter();
  const { errors } = parseDocument(text, { ...yamlOptions, uniqueKeys: true, lineCounter: lines });
  return errors
    .filter(({ code }) => code === "DUPLICATE_KEY")
    .slice(0, maximumDuplicates)
    .map(({ pos: [start, end] }) => {
      const key =
        /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s:]+)/.exec(text.slice(start, Math.max(end, start + 256)))?.[0] ??
        "";
      return `line ${lines.linePos(start).line}: key ${/^["']/.test(key) ? key : JSON.stringify(key)} already set in map`;
    });
}

function once(object: unknown, find: () => string[]): Parsed {
  let found: string[] | undefined;
  return {
    object,
    get duplicates() {
      return (found ??= find());
    },
  };
}

function limitDepth(value: unknown, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > maximumDepth) throw new SchemaError(`exceeded the maximum depth of ${maximumDepth}`);
  for (const child of Object.values(value)) limitDepth(child, depth + 1);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * YAML as Kubernetes reads it: version 1.1 with `yes` and `on` as booleans and `<<` merges, but without times, base-60
 * numbers and binary, which stay strings.
 */
const yamlOptions: ParseOptions & DocumentOptions & SchemaOptions = {
  version: "1.1",
  stringKeys: true,
  merge: true,
  prettyErrors: false,
  logLevel: "error",
  customTags: (tags) =>
    tags.filter(
      (tag) => typeof tag === "string" || (tag.format !== "TIME" && !/:(timestamp|binary)$/.test(tag.tag)),
    ),
};

function parseYaml(text: string): Parsed {
  const document = parseDocument(text, { ...yamlOptions, uniqueKeys: false });
  const [error] = document.errors;
  if (error !== undefined) throw new SchemaError(`invalid YAML: ${error.message}`, { cause: error });
  try {
    const object: unknown = document.toJS({ maxAliasCount: 100 });
    limitDepth(object, 0);
    return once(object, () => {
      const found: string[] = [];
      duplicateYamlKeys(document.contents, "", found);
      return found;
    });
  } catch (failure) {
    if (failure instanceof SchemaError) throw failure;
    throw new SchemaError(`invalid YAML: ${messageOf(failure)}`, { cause: failure });
  }
}

function duplicateYamlKeys(node: Node | null, path: string, found: string[]): void {
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries())
      duplicateYamlKeys(item as Node, `${path}[${index}]`, found);
  }
  if (!isMap(node) || isAlias(node)) return;
  const seen = new Set<string>();
  for (const pair of node.items) {
    const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const at = path === "" ? key : `${path}.${key}`;
    if (seen.has(key) && key !== "<<" && found.length < maximumDuplicates) found.push(at);
    seen.add(key);
    duplicateYamlKeys(pair.value as Node | null, at, found);
  }
}

/** Scans JSON text that is known to be valid, as `JSON.parse` silently keeps the last of two equal keys. */
export function duplicateKeys(text: string): string[] {
  const found: string[] = [];
  let at = 0;
  const skipSpace = () => {
    while (at < text.length && text.charCodeAt(at) <= 32) at += 1;
  };
  const skipString = (): string => {
    const start = at;
    at += 1;
    while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at += 1;
    return text.slice(start, at);
  };
  const skipValue = (path: () => string): void => {
    skipSpace();
    const first = text[at];
    if (first === '"') skipString();
    else if (first === "{") skipObject(path);
    else if (first === "[") skipArray(path);
    else while (at < text.length && !",]} \t\r\n".includes(text[at] ?? "")) at += 1;
    skipSpace();
  };
  const skipObject = (path: () => string): void => {
    const seen = new Set<string>();
    at += 1;
    skipSpace();
    while (text[at] !== "}") {
      skipSpace();
      const raw = skipString();
      const key = raw.includes("\\") ? (JSON.parse(raw) as string) : raw.slice(1, -1);
      // Asks for the outer path once: twice at every level would double the work with each.
      const inner = () => {
        const outer = path();
        return outer === "" ? key : `${outer}.${key}`;
      };
      if (seen.has(key) && found.length < maximumDuplicates) found.push(inner());
      seen.add(key);
      skipSpace();
      at += 1;
      skipValue(inner);
      if (text[at] === ",") at += 1;
      skipSpace();
    }
    at += 1;
  };
  const skipArray = (path: () => string): void => {
    let index = 0;
    at += 1;
    skipSpace();
    while (text[at] !== "]") {
      const here = index;
      skipValue(() => `${path()}[${here}]`);
      index += 1;
      if (text[at] === ",") at += 1;
      skipSpace();
    }
    at += 1;
  };
  skipValue(() => "");
  return [...new Set(found)];
}
