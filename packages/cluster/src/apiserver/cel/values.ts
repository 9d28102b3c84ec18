/**
 * JSON as expressions see it. Without a shape, as policies see objects: numbers without a fraction are `int`. With the shape of a
 * custom resource, as its rules see it: types by the schema, and fields by the names that the language can write.
 */
import { environment } from "./language.ts";
import type { TypeSchema } from "../schema/types.ts";

export function toValue(json: unknown, shape?: TypeSchema): unknown {
  if (json === null || json === undefined) return null;
  if (typeof json === "number") return toNumber(json, shape);
  if (typeof json === "string") return toText(json, shape);
  if (Array.isArray(json)) {
    const items = shape?.type === "list" ? shape.items : undefined;
    return json.map((item) => toValue(item, items));
  }
  if (typeof json !== "object") return json;
  const entries = Object.entries(json);
  if (shape?.type === "map")
    return new Map(entries.map(([key, value]) => [key, toValue(value, shape.values)]));
  if (shape?.type !== "object") return new Map(entries.map(([key, value]) => [key, toValue(value)]));
  return new Map(
    entries.map(([key, value]) => [
      escapeName(key),
      toValue(value, shape.fields.get(key)?.schema ?? shape.rest),
    ]),
  );
}

function toNumber(value: number, shape: TypeSchema | undefined): bigint | number {
  const isDouble = shape?.type === "number" || !Number.isInteger(value);
  return isDouble ? value : BigInt(value);
}

function toText(text: string, shape: TypeSchema | undefined): unknown {
  switch (shape?.type === "string" ? shape.format : undefined) {
    case "date-time":
    case "date":
      return new Date(text);
    case "byte":
      return new Uint8Array(Buffer.from(text, "base64"));
    case "duration":
      return (durationOf ??= environment({ text: "string" }).parse("duration(text)"))({ text });
    default:
      return text;
  }
}

let durationOf: ((variables: { text: string }) => unknown) | undefined;

/** Words that are operators or constants of the language, or kept for it. */
const reserved = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);

/** The name by which a rule reads a field, https://kubernetes.io/docs/reference/using-api/cel/#escaping. */
export function escapeName(name: string): string {
  if (reserved.has(name)) return `__${name}__`;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}
