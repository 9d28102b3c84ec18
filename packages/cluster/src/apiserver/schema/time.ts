/** Times and durations in the forms that Go writes them in JSON. */
import { SchemaError } from "./error.ts";

/** RFC 3339 in UTC, to the second or to the microsecond. Undefined for Go's zero time. */
export function formatTime(seconds: number, nanos: number, micro: boolean): string | undefined {
  if (seconds === -62135596800 && nanos === 0) return undefined;
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() < 0 || date.getUTCFullYear() > 9999) {
    throw new SchemaError(`time ${seconds} is outside the years 0 to 9999`);
  }
  const text = date.toISOString().slice(0, 19);
  if (!micro) return `${text}Z`;
  return `${text}.${String(Math.floor(nanos / 1000)).padStart(6, "0")}Z`;
}

/** As Go's `time.Duration.String`: `1h0m0s`, `1.5s`, `300ms`. */
export function formatDuration(nanos: number): string {
  if (nanos === 0) return "0s";
  const sign = nanos < 0 ? "-" : "";
  const size = Math.abs(nanos);
  if (size < 1e3) return `${sign}${size}ns`;
  if (size < 1e6) return `${sign}${size / 1e3}µs`;
  if (size < 1e9) return `${sign}${size / 1e6}ms`;
  const hours = Math.floor(size / 3.6e12);
  const minutes = Math.floor((size % 3.6e12) / 6e10);
  const seconds = (size % 6e10) / 1e9;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}
