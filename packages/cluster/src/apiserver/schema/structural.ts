/**
 * The shape of a custom resource from the `openAPIV3Schema` of its CustomResourceDefinition. Which keywords shape an object and
 * which only validate it: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema.
 */
import { builtinType } from "./builtin.ts";
import { isObject, type Json } from "./json.ts";
import type { FieldSchema, ListSchema, ObjectSchema, TypeSchema } from "./types.ts";

const string: TypeSchema = { type: "string" };

/** The root has `apiVersion`, `kind` and `metadata` of every object, whatever the schema says of them. */
export function structuralSchema(openAPIV3Schema: object): ObjectSchema {
  const root = shapeOf(openAPIV3Schema as Json);
  const schema: ObjectSchema =
    root.type === "object" ? root : { type: "object", fields: new Map(), open: true };
  return { ...withObjectFields(schema), source: openAPIV3Schema };
}

function withObjectFields(schema: ObjectSchema): ObjectSchema {
  const fields = new Map(schema.fields);
  fields.set("apiVersion", { schema: string, ...fieldDescription(fields.get("apiVersion")) });
  fields.set("kind", { schema: string, ...fieldDescription(fields.get("kind")) });
  fields.set("metadata", { schema: builtinType("meta.v1.ObjectMeta") });
  return { ...schema, fields, structural: true };
}

function fieldDescription(field: FieldSchema | undefined): { description?: string } {
  return field?.description === undefined ? {} : { description: field.description };
}

/** The shape of a part of such a schema. */
export function shapeOf(source: Json): TypeSchema {
  const description = typeof source["description"] === "string" ? { description: source["description"] } : {};
  if (source["x-kubernetes-int-or-string"] === true)
    return { type: "string", format: "int-or-string", ...description };
  const format = typeof source["format"] === "string" ? { format: source["format"] } : {};
  switch (source["type"]) {
    case "string":
      return { type: "string", ...format, ...description };
    case "boolean":
      return { type: "boolean", ...description };
    case "integer":
      return { type: "integer", ...format, ...description };
    case "number":
      return { type: "number", ...format, ...description };
    case "array":
      return { ...listOf(source), ...description };
    case "object":
      return { ...objectOf(source), ...description };
    default:
      return source["x-kubernetes-preserve-unknown-fields"] === true && isObject(source["properties"])
        ? { ...objectOf(source), ...description }
        : { type: "any", ...description };
  }
}

function listOf(source: Json): ListSchema {
  const items = isObject(source["items"]) ? shapeOf(source["items"]) : ({ type: "any" } as const);
  const declared = source["x-kubernetes-list-type"];
  const list: ListSchema = {
    type: "list",
    items,
    listType: declared === "set" || declared === "map" ? declared : "atomic",
  };
  const keys = source["x-kubernetes-list-map-keys"];
  if (Array.isArray(keys)) list.listMapKeys = keys.map(String);
  return list;
}

function objectOf(source: Json): TypeSchema {
  const properties = isObject(source["properties"]) ? source["properties"] : undefined;
  const additional = source["additionalProperties"];
  const open = source["x-kubernetes-preserve-unknown-fields"] === true || additional === true;
  const atomic = source["x-kubernetes-map-type"] === "atomic" ? { atomic: true } : {};
  const embedded = source["x-kubernetes-embedded-resource"] === true;
  if (properties === undefined && isObject(additional) && !embedded) {
    return { type: "map", values: shapeOf(additional), ...atomic };
  }
  const required = Array.isArray(source["required"]) ? source["required"] : [];
  const fields = new Map<string, FieldSchema>();
  for (const [name, property] of Object.entries(properties ?? {})) {
    if (!isObject(property)) continue;
    const schema = shapeOf(property);
    const field: FieldSchema = { schema };
    if (required.includes(name)) field.required = true;
    if (schema.description !== undefined) field.description = schema.description;
    if (property["default"] !== undefined) field.default = property["default"];
    if (property["nullable"] === true) field.nullable = true;
    fields.set(name, field);
  }
  const schema: ObjectSchema = { type: "object", fields, ...atomic };
  if (open) schema.open = true;
  if (isObject(additional)) schema.rest = shapeOf(additional);
  return embedded ? withObjectFields(schema) : schema;
}
