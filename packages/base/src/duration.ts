/** Durations as people write them: `90s`, `1h30m`, `7d`. In data and in code they are milliseconds. */
import { UserError } from "./errors.ts";

const units: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of `1h30m`, `500ms`, `7d`; a bare number is seconds. Throws a usage `UserError` for anything else. */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  const part = /(\d+(?:\.\d+)?)(ms|[smhdw])/y;
  let total = 0;
  let end = 0;
  for (let match = part.exec(trimmed); match !== null; match = part.exec(trimmed)) {
    total += Number(match[1]) * (units[match[2] ?? ""] ?? 0);
    end = part.lastIndex;
  }
  if (trimmed === "" || end !== trimmed.length) {
    throw new UserError(`"${text}" is not a duration`, {
      code: "usage",
      fix: "Write it like 30s, 5m, 1h30m or 7d.",
    });
  }
  return total;
}

/** Short form for people: `340 ms`, `4.2 s`, `3m20s`, `2h5m`, `6d4h`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days}d${hours}h`;
  if (hours > 0) return `${hours}h${minutes}m`;
  return `${minutes}m${seconds % 60}s`;
}

/** One unit, as `kubectl get` prints ages: `12s`, `4m`, `3h`, `9d`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
