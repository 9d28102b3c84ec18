/** Loosely typed parts of objects, which may be absent or of a wrong type: as lists, as text, without some fields. */
import type { Fields } from "./resource.ts";

/** A list that may be absent or null, as an array of loose objects. */
export function list(value: unknown): Fields[] {
  return Array.isArray(value)
    ? (value as unknown[]).filter((item): item is Fields => item !== null && typeof item === "object")
    : [];
}

/** Scalars as they print, anything else as JSON; the empty string for what is absent. */
export function textOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}

export function omit(fields: Fields | undefined, ...names: string[]): Fields {
  return Object.fromEntries(Object.entries(fields ?? {}).filter(([name]) => !names.includes(name)));
}
