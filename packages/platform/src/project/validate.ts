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
  minimum?: number;
  maximum?: number;
}

/** The file's value, typed. Throws a `config` `UserError` for the first fault. */
export function validate<T extends TSchema>(file: YamlFile, schema: T, what: string): Static<T> {
  const [fault] = faultsIn(file, schema, what);
  if (fault !== undefined) throw fault;
  return file.value as Static<T>;
}

/** Every fault of the file, as `validate` would throw it. */
export function faultsIn(file: YamlFile, schema: TSchema, what: string): UserError[] {
  if (Value.Check(schema, file.value)) return [];
  const faults = findFaults(file.value, schema, []);
  if (faults.length === 0)
    return [new UserError(`${what} is not valid`, { code: "config", at: file.at([]) })];
  return faults.map(
    ({ message, keys, atKey, fix }) =>
      new UserError(message, {
        code: "config",
        at: file.at(keys, atKey),
        ...(fix === undefined ? {} : { fix }),
      }),
  );
}

interface Fault {
  keys: (string | number)[];
  message: string;
  fix?: string;
  atKey?: boolean;
}

/** Walks value and schema together: its words are for people, where a validator's are for programs. */
function findFaults(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault[] {
  if (schema.anyOf !== undefined) return faultsOfUnion(value, schema.anyOf, keys);
  if (schema.const !== undefined) {
    return value === schema.const ? [] : [wrong(keys, value, JSON.stringify(schema.const))];
  }
  switch (schema.type) {
    case "string":
      return faultsOfString(value, schema, keys);
    case "array":
      return faultsOfArray(value, schema, keys);
    case "object":
      return faultsOfObject(value, schema, keys);
    case "boolean":
      return typeof value === "boolean" ? [] : [wrong(keys, value, "true or false")];
    case "integer":
      return faultsOfInteger(value, schema, keys);
    default:
      return [];
  }
}

function faultsOfString(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault[] {
  if (typeof value !== "string") return [wrong(keys, value, "a string")];
  if (value.length < (schema.minLength ?? 0)) return [{ keys, message: `${label(keys)} is empty` }];
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value)) {
    const fix = schema.pattern.startsWith("^/")
      ? "Begin it with a slash."
      : "Use lower-case letters, digits and hyphens, beginning and ending with a letter or digit.";
    return [{ keys, message: `${label(keys)} cannot be ${shown(value)}`, fix }];
  }
  return [];
}

function faultsOfInteger(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault[] {
  const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema;
  if (Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum) return [];
  const bounds = Number.isFinite(maximum) ? ` from ${minimum} to ${maximum}` : "";
  return [wrong(keys, value, `a whole number${bounds}`)];
}

function faultsOfArray(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault[] {
  if (!Array.isArray(value)) return [wrong(keys, value, "a list")];
  if (value.length < (schema.minItems ?? 0)) return [{ keys, message: `${label(keys)} is empty` }];
  const { items } = schema;
  return items === undefined ? [] : value.flatMap((item, index) => findFaults(item, items, [...keys, index]));
}

function faultsOfObject(value: unknown, schema: SchemaNode, keys: (string | number)[]): Fault[] {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return [wrong(keys, value, "a mapping")];
  const { properties = {}, patternProperties } = schema;
  const values = patternProperties === undefined ? undefined : Object.values(patternProperties)[0];
  const inner = Object.entries(value).flatMap(([key, item]) => {
    const known = Object.hasOwn(properties, key) ? properties[key] : values;
    return known === undefined
      ? [unknownKey([...keys, key], key, Object.keys(properties))]
      : findFaults(item, known, [...keys, key]);
  });
  const missing = (schema.required ?? []).filter((key) => !Object.hasOwn(value, key));
  return [
    ...inner,
    ...missing.map((key) => ({ keys, message: `${label([...keys, key])} is missing`, fix: `Add "${key}".` })),
  ];
}

/** The branch that fits the value's shape best explains what is wrong with it. */
function faultsOfUnion(value: unknown, branches: SchemaNode[], keys: (string | number)[]): Fault[] {
  const constants = branches.map((branch) => branch.const).filter((constant) => constant !== undefined);
  const text = branches.some((branch) => branch.type === "string" && branch.const === undefined);
  if (constants.length === branches.length || (typeof value === "string" && constants.length > 0 && !text)) {
    if (constants.some((constant) => constant === value)) return [];
    const known = constants.map(String);
    const close = typeof value === "string" ? nearest(value, known) : undefined;
    const fix = close === undefined ? `Use one of: ${known.join(", ")}.` : `Did you mean "${close}"?`;
    return [{ keys, message: `${label(keys)} cannot be ${shown(value)}`, fix }];
  }
  const faults = branches.map((branch) => findFaults(value, branch, keys));
  if (faults.some((found) => found.length === 0)) return [];
  const kind = Array.isArray(value) ? "array" : typeof value;
  const scores = branches.map((branch) => (branch.type === kind ? 1 + sharedKeys(value, branch) : 0));
  const best = Math.max(...scores);
  if (best === 0) {
    return [
      wrong(keys, value, branches.map(({ type }) => typeNames[type ?? ""] ?? "a mapping").join(" or ")),
    ];
  }
  return faults[scores.indexOf(best)] ?? [];
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
