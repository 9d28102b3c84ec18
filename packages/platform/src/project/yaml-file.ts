/**
 * YAML files written by people or by strangers: read with a size limit, parsed without running into alias bombs, and with
 * the position of every value kept for errors.
 */
import { open } from "node:fs/promises";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import {
  type Document,
  type DocumentOptions,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type ParseOptions,
  type SchemaOptions,
  visit,
  type YAMLMap,
} from "yaml";

export interface YamlFile {
  path: string;
  value: unknown;
  /** `path:line:column` of the value (or with `key`, of its key) under the given keys; of the nearest parent where there is none. */
  at(keys: readonly (string | number)[], key?: boolean): string;
  /** The tag that is written at the value under the keys, such as `!reset`; undefined where there is none. */
  tag(keys: readonly (string | number)[]): string | undefined;
}

const maxSize = 1024 * 1024;
const maxAliases = 100;
const maxDepth = 100;

/** Reads at most `limit` bytes; throws a `config` error that names the file for anything that cannot be used. */
export async function readYamlFile(path: string, limit = maxSize): Promise<YamlFile> {
  return parseYaml(path, await readLimited(path, limit));
}

/** The text of a regular file of at most `limit` bytes; bigger ones are refused without being read. */
export async function readLimited(path: string, limit = maxSize): Promise<string> {
  try {
    await using file = await open(path, "r");
    const info = await file.stat();
    if (!info.isFile()) throw new UserError(`${path} is not a file`, { code: "config", at: path });
    if (info.size > limit) {
      throw new UserError(`${path} is too big: ${megabytes(info.size)}, and ${megabytes(limit)} is allowed`, {
        code: "config",
        at: path,
        fix: "Move large data out of it.",
      });
    }
    return await file.readFile("utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) {
      throw new UserError(`${path} does not exist`, { code: "not-found", at: path, cause: error });
    }
    if (isErrno(error, "EACCES", "EPERM")) {
      throw new UserError(`${path} may not be read`, { code: "permission", at: path, cause: error });
    }
    throw error;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(bytes < 10 * 1024 * 1024 ? 1 : 0)} MB`;
}

/**
 * What Helm's parser takes for what, other than YAML 1.2: `yes` and `on` are booleans, `0644` is octal, `<<` merges. Times and
 * sexagesimal numbers stay strings there, and so they do here.
 */
const asHelm: ParseOptions & SchemaOptions & DocumentOptions = {
  version: "1.1",
  customTags: (tags) =>
    tags.filter(
      (tag) =>
        typeof tag === "string" ||
        !(tag.tag.endsWith(":timestamp") || tag.tag.endsWith(":binary") || tag.format === "TIME"),
    ),
};

/** What is particular about a dialect; Compose has merge keys, and large files of it repeat aliases for every service. */
const dialects = {
  helm: { options: asHelm, maxAliases },
  compose: { options: { merge: true } satisfies SchemaOptions, maxAliases: 5000 },
};

/** `dialect` "helm" is for charts' values, "compose" for Compose files. */
export function parseYaml(path: string, text: string, dialect?: keyof typeof dialects): YamlFile {
  const { options, maxAliases: allowed } =
    dialect === undefined ? { options: {}, maxAliases } : dialects[dialect];
  const lines = new LineCounter();
  const where = (offset: number | undefined) => {
    const { line, col } = lines.linePos(offset ?? 0);
    return `${path}:${Math.max(1, line)}:${Math.max(1, col)}`;
  };
  const deep = deepIndent(text);
  if (deep !== undefined) {
    throw new UserError(`${path} is nested more than ${maxDepth} levels deep`, {
      code: "config",
      at: `${path}:${deep}:1`,
    });
  }
  let document: Document;
  try {
    document = parseDocument(text, {
      ...options,
      lineCounter: lines,
      // Warnings would be printed, whatever prints; errors are kept.
      logLevel: "error",
      prettyErrors: false,
      uniqueKeys: true,
    });
  } catch (error) {
    throw new UserError(`${path} cannot be parsed: ${messageOf(error)}`, {
      code: "config",
      at: path,
      cause: error,
    });
  }
  const fault = document.errors[0];
  if (fault !== undefined) {
    if (fault.code === "DUPLICATE_KEY") throw keyTwice(document, fault.pos[0], where, lines);
    const several = fault.code === "MULTIPLE_DOCS";
    const message = several ? "the file holds several documents, and one is meant" : fault.message;
    throw new UserError(`not valid YAML: ${message}`, { code: "config", at: where(fault.pos[0]) });
  }
  const firstAlias = refuseBombs(path, document, where, allowed);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: allowed });
  } catch (error) {
    throw new UserError(`${path} expands without bound through its aliases`, {
      code: "config",
      at: where(firstAlias),
      fix: "Write the values out instead of repeating aliases.",
      cause: error,
    });
  }
  return {
    path,
    value,
    at: (keys, key = false) => where(find(document, keys, key).offset),
    tag: (keys) => find(document, keys, false).tag,
  };
}

/** For a key that its mapping has already; `offset` is where the second one stands. */
function keyTwice(
  document: Document,
  offset: number,
  where: (offset?: number) => string,
  lines: LineCounter,
): UserError {
  const startOf = ({ key }: Pair) => (isNode(key) ? key.range?.[0] : undefined);
  const textOf = ({ key }: Pair) => String(isScalar(key) ? key.value : key);
  let name = "";
  let first: number | undefined;
  visit(document, {
    Map(_key, { items }) {
      const second = items.find((pair) => startOf(pair) === offset);
      const before = items.find((pair) => second !== undefined && textOf(pair) === textOf(second));
      if (second === undefined || before === undefined) return undefined;
      name = textOf(second);
      first = startOf(before);
      return visit.BREAK;
    },
  });
  const { line } = lines.linePos(first ?? 0);
  return new UserError(`the key "${name}" is there twice: it stands on line ${line} too`, {
    code: "config",
    at: where(offset),
    fix: "Remove one of them, or put what both hold under one.",
  });
}

/** The line where flow brackets nest too deep. Counted before parsing, because the parser itself recurses. */
function deepIndent(text: string): number | undefined {
  let depth = 0;
  let line = 1;
  let run = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 10) {
      line++;
      run = 0;
    } else if (code === 91 || code === 123) depth++;
    else if (code === 93 || code === 125) depth = Math.max(0, depth - 1);
    else if ((code === 45 || code === 63) && text.charCodeAt(index + 1) === 32) run++;
    if (depth > maxDepth || run > maxDepth) return line;
  }
  return undefined;
}

/** Answers where the first alias stands. */
function refuseBombs(
  path: string,
  document: Document,
  where: (offset?: number) => string,
  allowed: number,
): number | undefined {
  let aliases = 0;
  let first: number | undefined;
  const anchors = new Set<string>();
  visit(document, (_key, node, parents) => {
    if (isNode(node) && !isAlias(node) && "anchor" in node && typeof node.anchor === "string")
      anchors.add(node.anchor);
    if (isAlias(node)) {
      first ??= node.range?.[0];
      if (!anchors.has(node.source)) {
        throw new UserError(`*${node.source} stands for nothing: there is no &${node.source} before it`, {
          code: "config",
          at: where(node.range?.[0]),
        });
      }
    }
    if (isAlias(node) && ++aliases > allowed) {
      throw new UserError(`${path} uses more than ${allowed} aliases`, {
        code: "config",
        at: where(node.range?.[0]),
        fix: "Write the values out instead of repeating aliases.",
      });
    }
    if (parents.length > maxDepth * 2) {
      throw new UserError(`${path} is nested more than ${maxDepth} levels deep`, {
        code: "config",
        at: where(isNode(node) ? node.range?.[0] : undefined),
      });
    }
  });
  return first;
}

/** Where the keys lead, through aliases and merge keys; the nearest parent's place where they lead nowhere. */
function find(
  document: Document,
  keys: readonly (string | number)[],
  key: boolean,
): { offset: number | undefined; tag?: string } {
  let node: unknown = document.contents;
  let offset = isNode(node) ? node.range?.[0] : 0;
  for (const [index, name] of keys.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) return { offset };
    if (isMap(node)) {
      const pair = pairOf(document, node, String(name));
      if (pair === undefined) return { offset };
      const last = index === keys.length - 1;
      const target: unknown = (last && key) || !isNode(pair.value) ? pair.key : pair.value;
      if (isNode(target)) offset = target.range?.[0] ?? offset;
      node = pair.value;
    } else {
      node = node.get(name, true);
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    }
  }
  return { offset, ...(isNode(node) && !isAlias(node) && node.tag !== undefined ? { tag: node.tag } : {}) };
}

/** The pair with the key, in the mapping itself or in one that `<<` merges into it. */
function pairOf(document: Document, map: YAMLMap, name: string): Pair | undefined {
  const keyOf = ({ key }: Pair) => (isScalar(key) ? key.value : key);
  const own = map.items.find((pair) => String(keyOf(pair)) === name);
  if (own !== undefined) return own;
  for (const pair of map.items) {
    const merges = keyOf(pair);
    if (merges !== "<<" && (typeof merges !== "symbol" || merges.description !== "<<")) continue;
    const value = isAlias(pair.value) ? pair.value.resolve(document) : pair.value;
    for (const item of isSeq(value) ? value.items : [value]) {
      const merged = isAlias(item) ? item.resolve(document) : item;
      const found = isMap(merged) ? pairOf(document, merged, name) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/**
 * A string as YAML text, wherever it stands: plain where every reader takes it for that string, quoted otherwise. `on`, `2048`
 * and `1e3` are other types to YAML 1.1, which Helm reads, or to 1.2, which kws reads.
 */
export function yamlString(text: string): string {
  const isPlain = (["1.1", "1.2"] as const).every((version) => {
    const { contents, errors } = parseDocument(`[${text}]`, { version });
    const [item, ...more] = isSeq(contents) ? contents.items : [];
    return errors.length === 0 && more.length === 0 && isScalar(item) && item.value === text;
  });
  return isPlain ? text : JSON.stringify(text);
}
