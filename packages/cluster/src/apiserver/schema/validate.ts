/**
 * Validates custom resources against the `openAPIV3Schema` of their definition, with the wording of the Kubernetes API server.
 * Rules (`x-kubernetes-validations`) are evaluated elsewhere.
 */
import { createContext, Script, type Context } from "node:vm";
import type { StatusCause } from "@kws/kube/status";
import { formatProblem } from "./formats.ts";
import { equal, isObject, type Json, own } from "./json.ts";

/** An empty list accepts the object. `metadata` is checked elsewhere. */
export function validateStructural(openAPIV3Schema: object, object: unknown): StatusCause[] {
  const causes: StatusCause[] = [];
  try {
    validate(openAPIV3Schema as Json, object, "", causes, true);
  } catch (error) {
    // The rest of the object is not judged: each of its values might cost as much.
    if (!(error instanceof PatternTimeout)) throw error;
    causes.push({ reason: "FieldValueInvalid", field: error.path, message: error.message });
  }
  return causes;
}

class PatternTimeout extends Error {
  readonly path: string;
  constructor(path: string, pattern: string) {
    super(`Invalid value: "string": ${path} in body takes too long to match against '${pattern}'`);
    this.path = path;
  }
}

function invalid(path: string, value: unknown, detail: string): StatusCause {
  const shown = JSON.stringify(value) ?? "null";
  return {
    reason: "FieldValueInvalid",
    field: path === "" ? "<nil>" : path,
    message: `Invalid value: ${shown}: ${detail}`,
  };
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function fitsType(type: string, value: unknown): boolean {
  const actual = typeOf(value);
  return actual === type || (type === "number" && actual === "integer");
}

function validate(schema: Json, value: unknown, path: string, causes: StatusCause[], root = false): void {
  if (value === null && (schema["nullable"] === true || schema["type"] === undefined)) return;
  if (schema["x-kubernetes-int-or-string"] === true) {
    const actual = typeOf(value);
    if (actual !== "integer" && actual !== "string") {
      causes.push(typeCause(path, value, "integer,string"));
      return;
    }
  } else if (typeof schema["type"] === "string" && !fitsType(schema["type"], value)) {
    causes.push(typeCause(path, value, schema["type"]));
    return;
  }
  validateEnum(schema, value, path, causes);
  if (typeof value === "number") validateNumber(schema, value, path, causes);
  if (typeof value === "string") validateString(schema, value, path, causes);
  if (Array.isArray(value)) validateArray(schema, value, path, causes);
  if (isObject(value)) validateObject(schema, value, path, causes, root);
  validateCombinations(schema, value, path, causes);
}

function typeCause(path: string, value: unknown, expected: string): StatusCause {
  const actual = JSON.stringify(typeOf(value));
  return {
    reason: "FieldValueTypeInvalid",
    field: path === "" ? "<nil>" : path,
    message: `Invalid value: ${actual}: ${path} in body must be of type ${expected}: ${actual}`,
  };
}

function validateEnum(schema: Json, value: unknown, path: string, causes: StatusCause[]): void {
  const options = schema["enum"];
  if (!Array.isArray(options) || options.some((option) => equal(option, value))) return;
  const list = options.map((option) => JSON.stringify(typeof option === "string" ? option : String(option)));
  causes.push({
    reason: "FieldValueNotSupported",
    field: path,
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list.join(", ")}`,
  });
}

function validateNumber(schema: Json, value: number, path: string, causes: StatusCause[]): void {
  const { minimum, maximum, multipleOf, exclusiveMinimum, exclusiveMaximum, format } = schema;
  if (typeof maximum === "number" && (exclusiveMaximum === true ? value >= maximum : value > maximum)) {
    const relation = exclusiveMaximum === true ? "less than" : "less than or equal to";
    causes.push(invalid(path, value, `${path} in body should be ${relation} ${maximum}`));
  }
  if (typeof minimum === "number" && (exclusiveMinimum === true ? value <= minimum : value < minimum)) {
    const relation = exclusiveMinimum === true ? "greater than" : "greater than or equal to";
    causes.push(invalid(path, value, `${path} in body should be ${relation} ${minimum}`));
  }
  if (typeof multipleOf === "number" && multipleOf > 0) {
    const quotient = value / multipleOf;
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9) {
      causes.push(invalid(path, value, `${path} in body should be a multiple of ${multipleOf}`));
    }
  }
  const detail = formatProblem(format, value, path);
  if (detail !== undefined) causes.push(invalid(path, value, detail));
}

function validateString(schema: Json, value: string, path: string, causes: StatusCause[]): void {
  const { minLength, maxLength, pattern, format } = schema;
  if (typeof maxLength === "number" || typeof minLength === "number") {
    // Lengths count code points, as Go's utf8.RuneCountInString.
    let length = 0;
    for (const _ of value) length += 1;
    if (typeof maxLength === "number" && length > maxLength) {
      causes.push({
        reason: "FieldValueTooLong",
        field: path,
        message: `Too long: may not be more than ${maxLength} ${maxLength === 1 ? "byte" : "bytes"}`,
      });
    }
    if (typeof minLength === "number" && length < minLength) {
      causes.push(invalid(path, value, `${path} in body should be at least ${minLength} chars long`));
    }
  }
  if (typeof pattern === "string") {
    const fits = matchesPattern(compile(pattern), value);
    if (fits === undefined) throw new PatternTimeout(path, pattern);
    if (!fits) causes.push(invalid(path, value, `${path} in body should match '${pattern}'`));
  }
  const detail = formatProblem(format, value, path);
  if (detail !== undefined) causes.push(invalid(path, value, detail));
}

/**
 * Upstream's expressions take linear time, JavaScript's may take forever. Those that could are run where they can be
 * interrupted. Undefined: it was.
 */
function matchesPattern(expression: RegExp, value: string): boolean | undefined {
  const quantifiers = expression.source.match(/[*+?{]/g)?.length ?? 0;
  if (quantifiers <= 1 && value.length <= 1000) return expression.test(value);
  interruptible ??= { script: new Script("expression.test(value)"), context: createContext({}) };
  Object.assign(interruptible.context, { expression, value });
  try {
    return interruptible.script.runInContext(interruptible.context, { timeout: patternTimeoutMs }) as boolean;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined;
    throw error;
  } finally {
    Object.assign(interruptible.context, { expression: undefined, value: undefined });
  }
}

const patternTimeoutMs = 100;
let interruptible: { script: Script; context: Context } | undefined;

const patterns = new Map<string, RegExp>();

/** RE2 syntax that JavaScript writes otherwise: flag groups at the start, `\A`, `\z`, POSIX classes. */
function compile(pattern: string): RegExp {
  let expression = patterns.get(pattern);
  if (expression === undefined) {
    const flags = /^\(\?([ims]+)\)/.exec(pattern);
    const source = pattern
      .slice(flags?.[0].length ?? 0)
      .replaceAll("\\A", "^")
      .replaceAll("\\z", "$")
      .replaceAll("[:alnum:]", "a-zA-Z0-9")
      .replaceAll("[:alpha:]", "a-zA-Z")
      .replaceAll("[:digit:]", "0-9")
      .replaceAll("[:lower:]", "a-z")
      .replaceAll("[:upper:]", "A-Z")
      .replaceAll("[:space:]", "\\s");
    try {
      expression = new RegExp(source, `${flags?.[1] ?? ""}u`);
    } catch {
      // Escapes that the strict mode refuses, such as `\-`, are fine in the loose one.
      expression = new RegExp(source, flags?.[1] ?? "");
    }
    patterns.set(pattern, expression);
  }
  return expression;
}

function validateArray(schema: Json, value: unknown[], path: string, causes: StatusCause[]): void {
  const { items, minItems, maxItems, uniqueItems } = schema;
  if (typeof maxItems === "number" && value.length > maxItems) {
    causes.push({
      reason: "FieldValueTooMany",
      field: path,
      message: `Too many: ${value.length}: must have at most ${maxItems} ${maxItems === 1 ? "item" : "items"}`,
    });
  }
  if (typeof minItems === "number" && value.length < minItems) {
    causes.push(invalid(path, value.length, `${path} in body should have at least ${minItems} items`));
  }
  const list = schema["x-kubernetes-list-type"];
  if (uniqueItems === true || list === "set") reportDuplicates(value, path, causes, (item) => item);
  if (list === "map" && Array.isArray(schema["x-kubernetes-list-map-keys"])) {
    const keys = schema["x-kubernetes-list-map-keys"].map(String);
    reportDuplicates(value, path, causes, (item) =>
      isObject(item) ? Object.fromEntries(keys.map((key) => [key, own(item, key)])) : item,
    );
  }
  if (!isObject(items)) return;
  for (const [index, item] of value.entries()) validate(items, item, `${path}[${index}]`, causes);
}

function reportDuplicates(
  list: unknown[],
  path: string,
  causes: StatusCause[],
  identity: (item: unknown) => unknown,
): void {
  const seen = new Set<string>();
  for (const [index, item] of list.entries()) {
    const id = identity(item);
    const key = JSON.stringify(id) ?? "";
    if (seen.has(key)) {
      causes.push({
        reason: "FieldValueDuplicate",
        field: `${path}[${index}]`,
        message: `Duplicate value: ${key}`,
      });
    }
    seen.add(key);
  }
}

function validateObject(schema: Json, value: Json, path: string, causes: StatusCause[], root: boolean): void {
  const { properties, required, additionalProperties, minProperties, maxProperties } = schema;
  const count = Object.keys(value).length;
  if (typeof maxProperties === "number" && count > maxProperties) {
    causes.push({
      reason: "FieldValueTooMany",
      field: path,
      message: `Too many: ${count}: must have at most ${maxProperties} items`,
    });
  }
  if (typeof minProperties === "number" && count < minProperties) {
    causes.push(invalid(path, count, `${path} in body should have at least ${minProperties} properties`));
  }
  const join = (key: string) => (path === "" ? key : `${path}.${key}`);
  for (const name of Array.isArray(required) ? required.map(String) : []) {
    if (!Object.hasOwn(value, name)) {
      causes.push({ reason: "FieldValueRequired", field: join(name), message: "Required value" });
    }
  }
  const known = isObject(properties) ? properties : {};
  for (const key of Object.keys(value)) {
    if (root && (key === "metadata" || key === "apiVersion" || key === "kind")) continue;
    const property = own(known, key);
    if (isObject(property)) {
      // A null where none is allowed counts as absent.
      if (value[key] !== null || property["nullable"] === true || property["default"] === undefined) {
        validate(property, value[key], join(key), causes);
      }
    } else if (isObject(additionalProperties)) {
      validate(additionalProperties, value[key], join(key), causes);
    }
  }
}

function validateCombinations(schema: Json, value: unknown, path: string, causes: StatusCause[]): void {
  const fits = (candidate: unknown) => {
    const found: StatusCause[] = [];
    if (isObject(candidate)) validate(candidate, value, path, found);
    return found.length === 0;
  };
  const { allOf, anyOf, oneOf, not } = schema;
  if (Array.isArray(allOf)) {
    for (const part of allOf) if (isObject(part)) validate(part, value, path, causes);
    if (!allOf.every(fits))
      causes.push(invalid(path, value, `${quoted(path)} must validate all the schemas (allOf)`));
  }
  if (Array.isArray(anyOf) && anyOf.length > 0 && !anyOf.some(fits)) {
    causes.push(invalid(path, value, `${quoted(path)} must validate at least one schema (anyOf)`));
  }
  if (Array.isArray(oneOf) && oneOf.length > 0) {
    const count = oneOf.filter(fits).length;
    if (count !== 1) {
      const found = count === 0 ? "Found none valid" : `Found ${count} valid alternatives`;
      causes.push(
        invalid(path, value, `${quoted(path)} must validate one and only one schema (oneOf). ${found}`),
      );
    }
  }
  if (isObject(not) && fits(not)) {
    causes.push(invalid(path, value, `${quoted(path)} must not validate the schema (not)`));
  }
}

function quoted(path: string): string {
  return JSON.stringify(path === "" ? "<nil>" : path);
}
