/**
 * Cron schedules as CronJobs take them: five fields, names, ranges, steps, `@daily` and the like, in an IANA time zone
 * (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax). Pure.
 */

export class CronError extends Error {
  override name = "CronError";
}

export interface Schedule {
  minutes: Set<number>;
  hours: Set<number>;
  days: Set<number>;
  months: Set<number>;
  weekdays: Set<number>;
  /** Where both day fields are restricted either may match, as in Vixie cron. */
  eitherDay: boolean;
  timeZone: string;
  /** `@every`: a fixed distance in milliseconds instead of fields. */
  every?: number;
}

const shorthands: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const minuteMs = 60_000;

/** Throws `CronError` for anything that is not a schedule or not a known zone. */
export function parseSchedule(text: string, timeZone = "UTC"): Schedule {
  assertZone(timeZone);
  const every = /^@every\s+((?:\d+[hms])+)$/.exec(text.trim())?.[1];
  if (every !== undefined) return { ...parseFields("* * * * *", timeZone), every: durationOf(every) };
  return parseFields(shorthands[text.trim()] ?? text.trim(), timeZone);
}

function parseFields(text: string, timeZone: string): Schedule {
  const fields = text.split(/\s+/);
  if (fields.length !== 5)
    throw new CronError(`expected exactly 5 fields, found ${fields.length}: [${text}]`);
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = fields;
  const weekdays = parseField(weekday, 0, 7, dayNames, 0);
  if (weekdays.delete(7)) weekdays.add(0);
  const isAny = (field: string): boolean => field.startsWith("*") || field.startsWith("?");
  return {
    minutes: parseField(minute, 0, 59),
    hours: parseField(hour, 0, 23),
    days: parseField(day, 1, 31),
    months: parseField(month, 1, 12, monthNames, 1),
    weekdays,
    eitherDay: !isAny(day) && !isAny(weekday),
    timeZone,
  };
}

function parseField(
  field: string,
  low: number,
  high: number,
  names: string[] = [],
  nameBase = 0,
): Set<number> {
  const values = new Set<number>();
  const numberOf = (text: string): number => {
    const named = names.indexOf(text.toLowerCase());
    const value = named < 0 ? Number(text) : named + nameBase;
    if (!/^\d+$/.test(text) && named < 0) throw new CronError(`failed to parse int from ${text}`);
    if (value < low || value > high) throw new CronError(`value ${text} is not between ${low} and ${high}`);
    return value;
  };
  for (const part of field.split(",")) {
    const [range = "", stepText] = part.split("/");
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!Number.isInteger(step) || step < 1)
      throw new CronError(`step of range should be a positive number: ${part}`);
    const [firstText = "", lastText] = range.split("-");
    const any = range === "*" || range === "?";
    const first = any ? low : numberOf(firstText);
    const open = lastText === undefined && stepText !== undefined;
    const last = any || open ? high : numberOf(lastText ?? firstText);
    if (last < first)
      throw new CronError(`beginning of range (${first}) beyond end of range (${last}): ${part}`);
    for (let value = first; value <= last; value += step) values.add(value);
  }
  return values;
}

function durationOf(text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: minuteMs, s: 1_000 };
  let total = 0;
  for (const [, count = "0", unit = "s"] of text.matchAll(/(\d+)([hms])/g))
    total += Number(count) * (units[unit] ?? 0);
  if (total < 1_000) throw new CronError(`@every needs at least one second: ${text}`);
  return total;
}

function assertZone(timeZone: string): void {
  try {
    formatterFor(timeZone);
  } catch (error) {
    throw new CronError(`unknown time zone ${timeZone}`, { cause: error });
  }
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterFor(timeZone: string): Intl.DateTimeFormat {
  const present = formatters.get(timeZone);
  if (present !== undefined) return present;
  const formatter = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    weekday: "short",
  });
  formatters.set(timeZone, formatter);
  return formatter;
}

interface WallTime {
  minute: number;
  hour: number;
  day: number;
  month: number;
  weekday: number;
}

function wallTime(ms: number, timeZone: string): WallTime {
  const parts = Object.fromEntries(
    formatterFor(timeZone)
      .formatToParts(ms)
      .map(({ type, value }) => [type, value]),
  );
  return {
    minute: Number(parts["minute"]),
    hour: Number(parts["hour"]),
    day: Number(parts["day"]),
    month: Number(parts["month"]),
    weekday: dayNames.indexOf(String(parts["weekday"]).toLowerCase()),
  };
}

/** The first time after `after`, in milliseconds since the epoch; undefined where none comes within five years. */
export function nextTime(schedule: Schedule, after: number): number | undefined {
  if (schedule.every !== undefined) return Math.floor(after / 1_000) * 1_000 + schedule.every;
  let time = Math.floor(after / minuteMs) * minuteMs + minuteMs;
  const last = after + 5 * 366 * 24 * 60 * minuteMs;
  while (time <= last) {
    const wall = wallTime(time, schedule.timeZone);
    if (!schedule.months.has(wall.month) || !matchesDay(schedule, wall)) {
      // To the next full hour; days begin at odd moments where clocks change.
      time += (60 - wall.minute) * minuteMs;
      if (wall.hour < 22) time += (22 - wall.hour) * 60 * minuteMs;
    } else if (!schedule.hours.has(wall.hour)) time += (60 - wall.minute) * minuteMs;
    else if (schedule.minutes.has(wall.minute)) return time;
    else time += minuteMs;
  }
  return undefined;
}

function matchesDay({ days, weekdays, eitherDay }: Schedule, { day, weekday }: WallTime): boolean {
  return eitherDay ? days.has(day) || weekdays.has(weekday) : days.has(day) && weekdays.has(weekday);
}
