/** Walks an object along its shape: which fields are unknown or of the wrong type, pruning, defaulting, Go's normal form. */
import type { StatusCause } from "@kws/kube/status";
import { clone, isObject, type Json, own, put } from "./json.ts";
import type { FieldSchema, ObjectSchema, ScalarSchema, TypeSchema } from "./types.ts";

export interface FieldReport {
  /** Paths such as `spec.template.spec.containers[0].imagee`, in the order of the object. */
  unknown: string[];
  /** Values of the wrong JSON type, worded as Go's decoder words them. */
  errors: StatusCause[];
}

/** Null is accepted everywhere: it stands for an absent value. */
export function checkFields(schema: ObjectSchema, object: unknown): FieldReport {
  const report: FieldReport = { unknown: [], errors: [] };
  const path: (string | number)[] = [];
  const structural = schema.structural === true;

  const mismatch = (value: unknown, expected: string, struct: ObjectSchema): void => {
    if (structural && path[0] !== "metadata" && path.length > 1) return;
    const found = describe(value);
    const name = struct.name?.slice(struct.name.lastIndexOf(".") + 1) ?? "";
    const field = path.filter((part) => typeof part === "string").join(".");
    report.errors.push({
      reason: "FieldValueTypeInvalid",
      field: formatPath(path),
      message: `json: cannot unmarshal ${found} into Go struct field ${name}.${field} of type ${expected}`,
    });
  };

  const visit = (type: TypeSchema, value: unknown, struct: ObjectSchema): void => {
    if (value === null || value === undefined) return;
    switch (type.type) {
      case "any":
        return;
      case "object":
        if (isObject(value)) visitObject(type, value);
        else mismatch(value, goName(type), struct);
        return;
      case "map":
        if (!isObject(value)) return mismatch(value, goName(type), struct);
        for (const key of Object.keys(value)) {
          path.push(key);
          visit(type.values, value[key], struct);
          path.pop();
        }
        return;
      case "list":
        if (!Array.isArray(value)) return mismatch(value, goName(type), struct);
        for (let index = 0; index < value.length; index += 1) {
          path.push(index);
          visit(type.items, value[index], struct);
          path.pop();
        }
        return;
      default:
        if (!fits(type, value)) mismatch(value, goName(type), struct);
    }
  };

  const visitObject = (type: ObjectSchema, value: Json): void => {
    for (const key of Object.keys(value)) {
      const field = childOf(type, key);
      path.push(key);
      if (field !== undefined) visit(field, value[key], type);
      else if (type.open !== true) report.unknown.push(formatPath(path));
      path.pop();
    }
  };

  if (isObject(object)) visitObject(schema, object);
  else {
    report.errors.push({
      reason: "FieldValueTypeInvalid",
      message: `json: cannot unmarshal ${describe(object)} into Go value of type ${goName(schema)}`,
    });
  }
  return report;
}

function childOf(type: ObjectSchema, key: string): TypeSchema | undefined {
  return type.fields.get(key)?.schema ?? type.rest;
}

function formatPath(path: (string | number)[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "number" : `number ${value}`;
  if (typeof value === "boolean") return "bool";
  return typeof value;
}

function goName(type: TypeSchema): string {
  switch (type.type) {
    case "object": {
      const [, group, name] = /([^.]+)\.([^.]+)$/.exec(type.name ?? "") ?? [];
      return name === undefined ? "map[string]interface {}" : `${group}.${name}`;
    }
    case "map":
      return `map[string]${goName(type.values)}`;
    case "list":
      return `[]${goName(type.items)}`;
    case "boolean":
      return "bool";
    case "integer":
      return type.format ?? "int64";
    case "number":
      return "float64";
    case "string":
      if (type.format === "byte") return "[]uint8";
      return "string";
    case "any":
      return "interface {}";
  }
}

function fits(type: ScalarSchema, value: unknown): boolean {
  switch (type.type) {
    case "boolean":
      return typeof value === "boolean";
    case "number":
      return typeof value === "number";
    case "integer":
      if (typeof value !== "number" || !Number.isInteger(value)) return false;
      return type.format !== "int32" || (value >= -(2 ** 31) && value < 2 ** 32);
    case "string":
      if (type.format === "quantity") return typeof value === "string" || typeof value === "number";
      if (type.format === "int-or-string") return typeof value === "string" || Number.isInteger(value);
      return typeof value === "string";
  }
}

/** Removes, in place, every field that the shape does not know. */
export function prune(schema: TypeSchema, object: unknown): void {
  if (Array.isArray(object)) {
    if (schema.type === "list") for (const item of object) prune(schema.items, item);
    return;
  }
  if (!isObject(object)) return;
  if (schema.type === "map") {
    for (const value of Object.values(object)) prune(schema.values, value);
  } else if (schema.type === "object") {
    for (const key of Object.keys(object)) {
      const child = childOf(schema, key);
      if (child !== undefined) prune(child, object[key]);
      else if (schema.open !== true) delete object[key];
    }
  }
}

/**
 * Fills in the defaults of the shape, in place. A null in a field that is not nullable counts as absent and goes:
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable.
 */
export function applyDefaults(schema: TypeSchema, object: unknown): void {
  if (Array.isArray(object)) {
    if (schema.type === "list") for (const item of object) applyDefaults(schema.items, item);
    return;
  }
  if (!isObject(object)) return;
  if (schema.type === "map") {
    for (const value of Object.values(object)) applyDefaults(schema.values, value);
    return;
  }
  if (schema.type !== "object") return;
  for (const [name, field] of schema.fields) {
    const value = own(object, name);
    if (value === undefined || (value === null && field.nullable !== true)) {
      if (field.default !== undefined && !isOmitted(field, field.default))
        put(object, name, clone(field.default));
      else if (value === null) delete object[name];
    }
    const present = own(object, name);
    if (typeof present === "object") applyDefaults(field.schema, present);
  }
  if (schema.rest !== undefined) {
    for (const key of Object.keys(object))
      if (!schema.fields.has(key)) applyDefaults(schema.rest, object[key]);
  }
}

/** Whether Go leaves the value out of JSON: `omitempty` on a zero value that is no pointer and no struct. */
function isOmitted(field: FieldSchema, value: unknown): boolean {
  if (field.omitEmpty !== true) return false;
  if (Array.isArray(value)) return value.length === 0;
  const { type } = field.schema;
  if (type === "map") return isObject(value) && Object.keys(value).length === 0;
  if (field.pointer === true || type === "any") return false;
  return value === "" || value === 0 || value === false;
}

/**
 * Brings a built-in object, in place, to the form that Go's types give it on the way through the API server: no nulls, no
 * zero values where `omitempty` drops them. Custom resources keep what they are given.
 */
export function normalize(schema: TypeSchema, object: unknown): void {
  if (Array.isArray(object)) {
    if (schema.type === "list") for (const item of object) normalize(schema.items, item);
    return;
  }
  if (!isObject(object)) return;
  if (schema.type === "map") {
    const isQuantity = schema.values.type === "string" && schema.values.format === "quantity";
    for (const key of Object.keys(object)) {
      if (isQuantity && typeof object[key] === "number") put(object, key, String(object[key]));
      else normalize(schema.values, object[key]);
    }
    return;
  }
  if (schema.type !== "object" || schema.structural === true) return;
  for (const key of Object.keys(object)) {
    const field = schema.fields.get(key);
    if (field === undefined) continue;
    const value = object[key];
    if (value === null || isOmitted(field, value)) delete object[key];
    else if (typeof value === "object") normalize(field.schema, value);
    // A quantity may be written as a number.
    else if (
      typeof value === "number" &&
      field.schema.type === "string" &&
      field.schema.format === "quantity"
    ) {
      put(object, key, String(value));
    }
  }
}
