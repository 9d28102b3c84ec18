/** The five fields of a CronJob's schedule and its time zone: whether they can be understood, not when they fire. */
import type { StatusCause } from "@kws/kube/status";
import { invalid, required } from "./cause.ts";
import { textOf } from "./loose.ts";

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const fields: { low: number; high: number; names?: string[] }[] = [
  { low: 0, high: 59 },
  { low: 0, high: 23 },
  { low: 1, high: 31 },
  { low: 1, high: 12, names: months },
  { low: 0, high: 6, names: days },
];
const macros = new Set(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]);

export function validateCronSchedule(field: string, schedule: unknown, timeZone?: unknown): StatusCause[] {
  const text = typeof schedule === "string" ? schedule.trim() : "";
  if (text === "") return [required(field)];
  if (/\bTZ\b/.test(text)) {
    const causes = [
      invalid(field, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ];
    if (timeZone)
      causes.push(invalid(field, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"));
    return causes;
  }
  const problem = problemOf(text);
  return problem === undefined ? [] : [invalid(field, schedule, problem)];
}

function problemOf(text: string): string | undefined {
  if (text.startsWith("@")) {
    if (macros.has(text) || /^@every (\d+(\.\d+)?(h|m|s|ms|us|µs|ns))+$/.test(text)) return undefined;
    return `unrecognized descriptor: ${text}`;
  }
  const parts = text.split(/\s+/);
  if (parts.length !== 5) return `expected exactly 5 fields, found ${parts.length}: [${parts.join(" ")}]`;
  for (const [index, part] of parts.entries()) {
    const range = fields[index];
    if (range === undefined) continue;
    for (const item of part.split(",")) {
      const problem = problemOfItem(item, range);
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}

function problemOfItem(item: string, { low, high, names }: (typeof fields)[number]): string | undefined {
  const [span = "", step, ...more] = item.split("/");
  if (more.length > 0) return `too many slashes: ${item}`;
  if (step !== undefined && (!/^\d+$/.test(step) || Number(step) === 0)) {
    return `step of range should be a positive number: ${item}`;
  }
  if (span === "*" || span === "?") return undefined;
  const bounds = span.split("-");
  if (bounds.length > 2) return `too many hyphens: ${item}`;
  const values = bounds.map((bound) => {
    const named = names?.indexOf(bound.toLowerCase()) ?? -1;
    return named >= 0 ? named + (low === 1 ? 1 : 0) : /^\d+$/.test(bound) ? Number(bound) : Number.NaN;
  });
  const [start = Number.NaN, end = start] = values;
  if (Number.isNaN(start) || Number.isNaN(end)) return `failed to parse int from ${span}`;
  if (start < low) return `beginning of range (${start}) below minimum (${low}): ${item}`;
  if (end > high) return `end of range (${end}) above maximum (${high}): ${item}`;
  return start > end ? `beginning of range (${start}) beyond end of range (${end}): ${item}` : undefined;
}

export function validateTimeZone(field: string, zone: unknown): StatusCause[] {
  if (zone === undefined || zone === null) return [];
  if (zone === "") return [invalid(field, zone, "timeZone must be nil or non-empty string")];
  if (textOf(zone).toLowerCase() === "local") {
    return [
      invalid(
        field,
        zone,
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
      ),
    ];
  }
  try {
    const format = new Intl.DateTimeFormat("en", { timeZone: textOf(zone) });
    return format.resolvedOptions().timeZone === "" ? [required(field)] : [];
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [invalid(field, zone, `unknown time zone ${textOf(zone)}`)];
  }
}
