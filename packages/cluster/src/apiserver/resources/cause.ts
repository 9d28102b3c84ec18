/**
 * Why an object is refused, field by field, in upstream's words: clients and people match on them. Messages follow
 * k8s.io/apimachinery `util/validation/field/errors.go`.
 */
import type { StatusCause } from "@kws/kube/status";
import { textOf } from "./loose.ts";

export function required(field: string, detail = ""): StatusCause {
  return {
    reason: "FieldValueRequired",
    message: detail === "" ? "Required value" : `Required value: ${detail}`,
    field,
  };
}

export function invalid(field: string, value: unknown, detail: string): StatusCause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${quote(value)}: ${detail}`, field };
}

export function duplicate(field: string, value: unknown): StatusCause {
  return { reason: "FieldValueDuplicate", message: `Duplicate value: ${quote(value)}`, field };
}

export function forbidden(field: string, detail: string): StatusCause {
  return { reason: "FieldValueForbidden", message: `Forbidden: ${detail}`, field };
}

export function notFound(field: string, value: unknown): StatusCause {
  return { reason: "FieldValueNotFound", message: `Not found: ${quote(value)}`, field };
}

export function notSupported(field: string, value: unknown, supported: readonly string[]): StatusCause {
  const values = [...supported].sort().map((item) => JSON.stringify(item));
  return {
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${quote(value)}: supported values: ${values.join(", ")}`,
    field,
  };
}

export function tooLong(field: string, limit: number): StatusCause {
  return { reason: "FieldValueTooLong", message: `Too long: may not be more than ${limit} bytes`, field };
}

export function tooMany(field: string, actual: number, limit: number): StatusCause {
  return {
    reason: "FieldValueTooMany",
    message: `Too many: ${actual}: must have at most ${limit} items`,
    field,
  };
}

export const immutableField = "field is immutable";

/** A cause when the two values differ. */
export function immutable(field: string, value: unknown, old: unknown): StatusCause[] {
  return same(value, old) ? [] : [invalid(field, value, immutableField)];
}

/** A cause when a value is given and is none of the supported ones; one that it is required when absent. */
export function oneOf(field: string, value: unknown, supported: readonly string[]): StatusCause[] {
  if (value === undefined || value === null || value === "") return [required(field)];
  return supported.includes(textOf(value)) ? [] : [notSupported(field, value, supported)];
}

export function nonNegative(field: string, value: unknown): StatusCause[] {
  if (value === undefined || value === null) return [];
  return Number(value) < 0 ? [invalid(field, value, "must be greater than or equal to 0")] : [];
}

export function positive(field: string, value: unknown): StatusCause[] {
  if (value === undefined || value === null) return [];
  return Number(value) <= 0 ? [invalid(field, value, "must be greater than zero")] : [];
}

export function portNumber(field: string, value: unknown): StatusCause[] {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536
    ? []
    : [invalid(field, value, "must be between 1 and 65535, inclusive")];
}

/** Deep equality of JSON values, blind to the order of keys and to absent, null and empty fields. */
export function same(left: unknown, right: unknown): boolean {
  return canonical(left) === canonical(right);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (item === null || typeof item !== "object" || Array.isArray(item)) return item ?? undefined;
    const entries = Object.entries(item).filter(([, field]) => field !== null && field !== undefined);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function quote(value: unknown): string {
  return value === undefined ? '""' : JSON.stringify(value);
}
