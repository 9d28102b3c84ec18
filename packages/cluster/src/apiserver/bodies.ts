/** Request bodies: JSON, YAML and protobuf to objects, with the checks of `fieldValidation`. */
import type { KubeObject } from "@kws/kube/object";
import { apiError } from "@kws/kube/status";
import { badRequest, unsupportedMediaType } from "./failures.ts";
import type { ApiRequest } from "./request.ts";
import {
  checkFields,
  decodeProtobuf,
  duplicateLines,
  parseObject,
  prune,
  SchemaError,
  type TypeRegistry,
} from "./schema/index.ts";
import type { ObjectSchema } from "./schema/types.ts";

const json = "application/json";
const yaml = "application/yaml";
const protobuf = "application/vnd.kubernetes.protobuf";

export interface DecodedBody {
  object: unknown;
  /** Fields given twice, which only field validation complains of. */
  duplicates: string[];
}

/** The media type of the body, without parameters. */
export function mediaType(request: ApiRequest): string {
  return (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/** The body as an object; throws `BadRequest` and `UnsupportedMediaType`. */
export async function readObject(request: ApiRequest, types: TypeRegistry): Promise<DecodedBody> {
  const type = mediaType(request);
  const bytes = await request.body();
  if (type === protobuf) {
    return { object: decoding(() => decodeProtobuf(bytes, types)), duplicates: [] };
  }
  if (type === json || type === "" || type === "text/plain") return parseBody(bytes, "json");
  if (type === yaml) return parseBody(bytes, "yaml");
  throw unsupportedMediaType(type, [json, yaml, protobuf]);
}

export function parseBody(bytes: Uint8Array, format: "json" | "yaml"): DecodedBody {
  return decoding(() => parseObject(textOf(bytes), format));
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

export function isObject(value: unknown): value is KubeObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof SchemaError || error instanceof SyntaxError) {
      throw badRequest(
        `the object provided is unrecognized (must be of a known type, well-formed): ${error.message}`,
      );
    }
    throw error;
  }
}

/**
 * Type errors are always refused; unknown and duplicate fields as the request's `fieldValidation` says, and unknown ones
 * are dropped. Answers the warnings for `Warning` headers.
 */
export function validateFields(
  request: ApiRequest,
  schema: ObjectSchema | undefined,
  object: KubeObject,
  duplicates: string[],
): string[] {
  if (schema === undefined) return [];
  const mode = request.query.get("fieldValidation") || "Warn";
  const { unknown, errors } = checkFields(schema, object);
  if (errors.length > 0) {
    const text = errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join(", ");
    const kind = typeof object.kind === "string" ? object.kind : "object";
    const version = typeof object.apiVersion === "string" ? object.apiVersion : "";
    throw badRequest(
      `${kind} in version "${version.split("/").at(-1)}" cannot be handled as a ${kind}: ${text}`,
    );
  }
  const problems = [
    ...unknown.map((field) => `unknown field "${field}"`),
    ...duplicates.map((field) => `duplicate field "${field}"`),
  ];
  if (unknown.length > 0) prune(schema, object);
  if (problems.length === 0 || mode === "Ignore") return [];
  if (mode === "Strict") throw apiError("BadRequest", `strict decoding error: ${problems.join(", ")}`);
  return problems;
}

/**
 * What `fieldValidation` makes of keys that an applied configuration gives twice; fields that are unknown, the apply itself
 * refuses whatever it says. Answers warnings.
 */
export function validateApplied(request: ApiRequest, bytes: Uint8Array, duplicates: string[]): string[] {
  const mode = request.query.get("fieldValidation") || "Warn";
  if (mode === "Ignore" || duplicates.length === 0) return [];
  const lines = duplicateLines(textOf(bytes));
  if (mode !== "Strict") return lines;
  const list = lines.map((line) => `\n  ${line}`).join("");
  throw badRequest(`error strict decoding YAML: yaml: unmarshal errors:${list}`);
}

/** `Warning` header values, https://datatracker.ietf.org/doc/html/rfc7234#section-5.5. */
export function warningHeader(warnings: string[]): Record<string, string> {
  if (warnings.length === 0) return {};
  return { warning: warnings.map((text) => `299 - "${text.replaceAll(/["\\]/g, "\\$&")}"`).join(", ") };
}
