/**
 * The built-in shapes, from the table that scripts/schema/generate.ts writes. A type is one line of text, read when first
 * asked for: `flags|field|field…`, a flag `a` meaning atomic and `k` a kind with apiVersion and kind. A field is
 * `name number type [options]`, or `~ number type` for an embedded struct. Types: `s b i l d y` string, bool, int32, int64,
 * double, bytes; `q o t u D` quantity, int-or-string, time, micro time, duration; `f r j` field set, raw extension, JSON;
 * `B Y Z` the unions of JSONSchemaProps; `[x` list, `<x` list with a message of its own, `{x` map, `@name` object. Options:
 * `r` required, `o` omitempty, `p` pointer, `a` atomic, `S` set, `K=` list-map keys, `P=` patch strategy, `M=` merge key,
 * `D=` default as JSON.
 */
import { type GroupVersionKind, parseApiVersion } from "@kws/kube/object";
import table from "./builtin.generated.json" with { type: "json" };
import { SchemaError } from "./error.ts";
import type { FieldSchema, ListSchema, ObjectSchema, ScalarSchema, TypeSchema } from "./types.ts";

/** The Kubernetes version that the shapes come from. */
export const builtinVersion: string = table.version;

const lines = new Map<string, string>(Object.entries(table.types));
const packages = new Map(table.packages.map(([alias = "", name = ""]) => [alias, name]));
const aliases = new Map(table.packages.map(([alias = "", name = ""]) => [name, alias]));
const made = new Map<string, ObjectSchema>();

const string: ScalarSchema = { type: "string" };
const scalars = new Map<string, TypeSchema>([
  ["s", string],
  ["b", { type: "boolean" }],
  ["i", { type: "integer", format: "int32" }],
  ["l", { type: "integer", format: "int64" }],
  ["d", { type: "number", format: "double" }],
  ["y", { type: "string", format: "byte" }],
  ["q", { type: "string", format: "quantity" }],
  ["o", { type: "string", format: "int-or-string" }],
  ["t", { type: "string", format: "date-time" }],
  ["u", { type: "string", format: "micro-time" }],
  ["D", { type: "string", format: "duration" }],
  ["f", { type: "any", wire: "raw" }],
  ["r", { type: "any", wire: "raw" }],
  ["j", { type: "any", wire: "raw" }],
  ["B", { type: "any", wire: "props-or-bool", props: jsonSchemaProps }],
  ["Y", { type: "any", wire: "props-or-array", props: jsonSchemaProps }],
  ["Z", { type: "any", wire: "props-or-strings", props: jsonSchemaProps }],
]);

function jsonSchemaProps(): ObjectSchema {
  return builtinType("apiextensions.v1.JSONSchemaProps");
}

/** Every built-in kind with the name of its type in the table. */
export function* builtinKinds(): Iterable<{ gvk: GroupVersionKind; type: string }> {
  for (const [alias = "", , apiVersion = "", kinds = ""] of table.packages) {
    for (const kind of kinds.split(" ")) {
      yield { gvk: { ...parseApiVersion(apiVersion), kind }, type: `${alias}.${kind}` };
    }
  }
}

/** `core.v1.PodSpec` → `io.k8s.api.core.v1.PodSpec`. */
export function openapiName(type: string): string {
  const dot = type.lastIndexOf(".");
  return `${packages.get(type.slice(0, dot)) ?? type.slice(0, dot)}${type.slice(dot)}`;
}

/** `io.k8s.api.core.v1.PodSpec` → `core.v1.PodSpec`; other names stay. */
export function shortName(name: string): string {
  const dot = name.lastIndexOf(".");
  const alias = aliases.get(name.slice(0, dot));
  return alias === undefined ? name : `${alias}${name.slice(dot)}`;
}

/** The shape of a type by its name in the table, such as `core.v1.PodSpec`. */
export function builtinType(name: string): ObjectSchema {
  const known = made.get(name);
  if (known !== undefined) return known;
  const line = lines.get(name);
  if (line === undefined) throw new SchemaError(`there is no built-in type ${name}`);
  const [flags = "", ...columns] = line.split("|");
  const fields = new Map<string, FieldSchema>();
  const schema: ObjectSchema = { type: "object", name: openapiName(name), fields };
  // Types may contain themselves: known before its fields are read.
  made.set(name, schema);
  if (flags.includes("a")) schema.atomic = true;
  if (flags.includes("k")) {
    fields.set("apiVersion", { schema: string, omitEmpty: true });
    fields.set("kind", { schema: string, omitEmpty: true });
  }
  for (const column of columns) readField(schema, fields, column.split(" "));
  return schema;
}

function readField(owner: ObjectSchema, fields: Map<string, FieldSchema>, parts: string[]): void {
  const [name = "", number = "0", code = "", ...options] = parts;
  if (name === "~") {
    const schema = builtinType(code.slice(1));
    (owner.inlined ??= []).push({ number: Number(number), schema });
    for (const [key, field] of schema.fields) fields.set(key, { ...field, number: undefined });
    return;
  }
  const field: FieldSchema = { schema: readType(code) };
  if (number !== "0") field.number = Number(number);
  let { schema } = field;
  const list: ListSchema | undefined = schema.type === "list" ? schema : undefined;
  for (const option of options) {
    const value = option.slice(2);
    switch (option[0]) {
      case "r":
        field.required = true;
        break;
      case "o":
        field.omitEmpty = true;
        break;
      case "p":
        field.pointer = true;
        break;
      case "a":
        if (schema.type === "object" || schema.type === "map")
          schema = Object.assign({ ...schema }, { atomic: true });
        break;
      case "D":
        field.default = JSON.parse(value);
        break;
      default:
        if (list !== undefined) readListOption(list, option, value);
    }
  }
  field.schema = schema;
  fields.set(name, field);
}

function readListOption(list: ListSchema, option: string, value: string): void {
  if (option === "S") list.listType = "set";
  if (option.startsWith("P=")) list.patchStrategy = value;
  if (option.startsWith("M=")) list.patchMergeKey = value;
  if (option.startsWith("K=")) {
    list.listType = "map";
    list.listMapKeys = value.split(",");
  }
}

function readType(code: string): TypeSchema {
  const scalar = scalars.get(code);
  if (scalar !== undefined) return scalar;
  const rest = code.slice(1);
  switch (code[0]) {
    case "@":
      return builtinType(rest);
    case "[":
      return { type: "list", items: readType(rest), listType: "atomic" };
    case "<":
      return { type: "list", items: readType(rest), listType: "atomic", wrapped: true };
    case "{":
      return { type: "map", values: readType(rest) };
    default:
      throw new SchemaError(`type code ${code} in the built-in table is unknown`);
  }
}
