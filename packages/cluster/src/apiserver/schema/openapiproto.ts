/**
 * The OpenAPI v2 document in the protobuf form that kubectl reads for kinds which v3 has no path for, such as `List`
 * (gnostic's openapi_v2.Document). Only what kubectl looks at is written: definitions, and what a patch of each kind accepts.
 */
import type { Json } from "./json.ts";

/** Field numbers of gnostic's openapiv2/OpenAPIv2.proto. */
const documentFields = { swagger: 1, info: 2, paths: 8, definitions: 9 };
const schemaFields = {
  reference: 1,
  format: 2,
  description: 4,
  default: 5,
  required: 19,
  enum: 20,
  additionalProperties: 21,
  type: 22,
  items: 23,
  allOf: 24,
  properties: 25,
  extension: 31,
};

export function openapiV2Protobuf(document: Json): Buffer {
  const { info, paths, definitions } = document as Record<string, Json>;
  return Buffer.concat([
    text(documentFields.swagger, "2.0"),
    message(documentFields.info, [text(1, String(info?.["title"])), text(2, String(info?.["version"]))]),
    message(
      documentFields.paths,
      Object.entries(paths ?? {}).flatMap(([path, item]) => patchOf(path, item as Json)),
    ),
    message(
      documentFields.definitions,
      Object.entries(definitions ?? {}).map(([name, schema]) => named(1, name, schemaOf(schema as Json))),
    ),
  ]);
}

/** Whether a kind's patch takes a parameter such as `fieldValidation` is all that the paths are asked. */
function patchOf(path: string, item: Json): Buffer[] {
  const patch = item["patch"] as Json | undefined;
  if (patch === undefined) return [];
  const parameters = (patch["parameters"] as { name: string; in: string; type?: string }[])
    .filter((parameter) => parameter.in === "query")
    .map(({ name, in: place, type = "" }) => {
      const query = [text(2, place), text(4, name), text(6, type)];
      // ParametersItem, Parameter, NonBodyParameter and its form for queries.
      return message(8, [message(1, [message(2, [message(3, query)])])]);
    });
  const operation = [text(5, String(patch["operationId"])), ...parameters, ...extensions(13, patch)];
  return [named(2, path, [message(8, operation)])];
}

function schemaOf(schema: Json): Buffer[] {
  const field = schemaFields;
  const parts: Buffer[] = [];
  const { $ref, format, description, required, type, items, allOf, properties, additionalProperties } =
    schema;
  if (typeof $ref === "string") parts.push(text(field.reference, $ref));
  if (typeof format === "string") parts.push(text(field.format, format));
  if (typeof description === "string") parts.push(text(field.description, description));
  if (schema["default"] !== undefined) parts.push(message(field.default, [any(schema["default"])]));
  for (const name of (required ?? []) as string[]) parts.push(text(field.required, name));
  for (const value of (schema["enum"] ?? []) as unknown[]) parts.push(message(field.enum, [any(value)]));
  if (typeof additionalProperties === "object" && additionalProperties !== null) {
    parts.push(message(field.additionalProperties, [message(1, schemaOf(additionalProperties as Json))]));
  }
  if (typeof type === "string") parts.push(message(field.type, [text(1, type)]));
  if (items !== undefined) parts.push(message(field.items, [message(1, schemaOf(items as Json))]));
  for (const one of (allOf ?? []) as Json[]) parts.push(message(field.allOf, schemaOf(one)));
  if (properties !== undefined) {
    const entries = Object.entries(properties as Json);
    parts.push(
      message(
        field.properties,
        entries.map(([name, value]) => named(1, name, schemaOf(value as Json))),
      ),
    );
  }
  return [...parts, ...extensions(field.extension, schema)];
}

/** `x-…` fields, each as YAML, which JSON is. */
function extensions(number: number, of: Json): Buffer[] {
  return Object.entries(of)
    .filter(([name]) => name.startsWith("x-"))
    .map(([name, value]) => named(number, name, [any(value)]));
}

function any(value: unknown): Buffer {
  return text(2, JSON.stringify(value));
}

function named(number: number, name: string, value: Buffer[]): Buffer {
  return message(number, [text(1, name), message(2, value)]);
}

function message(number: number, parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([varint((number << 3) | 2), varint(body.length), body]);
}

function text(number: number, value: string): Buffer {
  return message(number, [Buffer.from(value)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}
