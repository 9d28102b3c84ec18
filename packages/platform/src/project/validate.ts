/** Checks a YAML file against a schema and says what is wrong, where, and what was probably meant. */
import { UserError } from "@kws/base/errors";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { nearest } from "./nearest.ts";
import type { YamlFile } from "./yaml-file.ts";

interface SchemaNode {
  type?: string;
  properties?: Record<string, SchemaNode>;
  patternProperties?: Record<string, SchemaNode>;
  additionalProperties?: boolean | SchemaNode;
  required?: string[];
  items?: SchemaNode;
  anyOf?: SchemaNode[];
  const?: unknown;
  pattern?: string;
  minLength?: number;
  minItems?: number;
}

/** The file's value, typed. Throws a `config` `UserError` for the first fault. */
export function validate<T extends TSchema>(file: YamlFile, schema: T, what: string): Static<T> {
  if (!Value.Check(schema, file.value)) {
    const fault = findFault(file.value, schema, []);
    if (fault === undefined) {
      throw new UserError(`${what} is not valid`, { code: "config", at: file.at([]) });
    }
    throw new UserError(fault.message, {
      code: "config",
      at: file.at(fault.keys, fault.atKey),
      ...(fault.fix === undefined ? {} : { fix: fault.fix }),
    });
  }
  return file.value;
}

interface Fault {
  keys: (string | number)[];
  message: string;
  fix?: string;
  atKey?: boolean;
}

/** Walks value and schema together: its words are for people, where a validator's are for programs. */
function findFault(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault | undefined {
  if (schema.anyOf !== undefined) return faultOfUnion(value, schema.anyOf, keys);
  if (schema.const !== undefined) {
    return value === schema.const ? undefined : wrong(keys, value, JSON.stringify(schema.const));
  }
  switch (schema.type) {
    case "string":
      return faultOfString(value, schema, keys);
    case "array":
      return faultOfArray(value, schema, keys);
    case "object":
      return faultOfObject(value, schema, keys);
    default:
      return undefined;
  }
}

function faultOfString(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault | undefined {
  if (typeof value !== "string") return wrong(keys, value, "a string");
  if (value.length < (schema.minLength ?? 0)) return { keys, message: `${label(keys)} is empty` };
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value)) {
    const fix = schema.pattern.startsWith("^/")
      ? "Begin it with a slash."
      : "Use lower-case letters, digits and hyphens, beginning and ending with a letter or digit.";
    return { keys, message: `${label(keys)} cannot be ${shown(value)}`, fix };
  }
  return undefined;
}

function faultOfArray(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault | undefined {
  if (!Array.isArray(value)) return wrong(keys, value, "a list");
  if (value.length < (schema.minItems ?? 0)) return { keys, message: `${label(keys)} is empty` };
  for (const [index, item] of value.entries()) {
    const fault = schema.items === undefined ? undefined : findFault(item, schema.items, [...keys, index]);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultOfObject(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return wrong(keys, value, "a mapping");
  const { properties = {}, patternProperties } = schema;
  const values = patternProperties === undefined ? undefined : Object.values(patternProperties)[0];
  for (const [key, item] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : values;
    if (known === undefined) return unknownKey([...keys, key], key, Object.keys(properties));
    const fault = findFault(item, known, [...keys, key]);
    if (fault !== undefined) return fault;
  }
  const missing = schema.required?.find((key) => !Object.hasOwn(value, key));
  if (missing !== undefined) {
    return { keys, message: `${label([...keys, missing])} is missing`, fix: `Add "${missing}".` };
  }
  return undefined;
}

/** The branch that fits the value's shape best explains what is wrong with it. */
function faultOfUnion(value: unknown, branches: SchemaNode[], keys: (string | number)[]): Fault | undefined {
  const constants = branches.map((branch) => branch.const).filter((constant) => constant !== undefined);
  if (constants.length === branches.length) {
    if (constants.some((constant) => constant === value)) return undefined;
    const known = constants.map(String);
    const close = typeof value === "string" ? nearest(value, known) : undefined;
    const fix = close === undefined ? `Use one of: ${known.join(", ")}.` : `Did you mean "${close}"?`;
    return { keys, message: `${label(keys)} cannot be ${shown(value)}`, fix };
  }
  const faults = branches.map((branch) => findFault(value, branch, keys));
  if (faults.some((fault) => fault === undefined)) return undefined;
  const kind = Array.isArray(value) ? "array" : typeof value;
  const scores = branches.map((branch) => (branch.type === kind ? 1 + sharedKeys(value, branch) : 0));
  const best = Math.max(...scores);
  if (best === 0) {
    return wrong(keys, value, branches.map(({ type }) => typeNames[type ?? ""] ?? "a mapping").join(" or "));
  }
  return faults[scores.indexOf(best)];
}

const typeNames: Record<string, string> = { array: "a list", string: "a string" };

function sharedKeys(value: unknown, branch: SchemaNode): number {
  if (typeof value !== "object" || value === null) return 0;
  const shared = Object.keys(value).filter((key) => Object.hasOwn(branch.properties ?? {}, key)).length;
  const own = (branch.required ?? []).filter((key) => Object.hasOwn(value, key)).length;
  return shared + own;
}

function unknownKey(keys: (string | number)[], key: string, known: string[]): Fault {
  const close = nearest(key, known);
  return {
    keys,
    atKey: true,
    message: `unknown key ${shown(key)}${keys.length > 1 ? ` in ${label(keys.slice(0, -1))}` : ""}`,
    fix: close === undefined ? `Known keys here: ${known.join(", ")}.` : `Did you mean "${close}"?`,
  };
}

function wrong(keys: (string | number)[], value: unknown, expected: string): Fault {
  return { keys, message: `${label(keys)} must be ${expected}, not ${shown(value)}` };
}

function label(keys: (string | number)[]): string {
  if (keys.length === 0) return "the file";
  return keys
    .map((key) => (typeof key === "number" ? `[${key}]` : key))
    .join(".")
    .replaceAll(".[", "[");
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
