/** Waiting that an AbortSignal ends, and times as Kubernetes writes them. */
import { setTimeout as delay } from "node:timers/promises";

/** False when the signal aborted meanwhile. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(milliseconds, undefined, { signal, ref: false });
    return true;
  } catch {
    return false;
  }
}

/** RFC 3339 with whole seconds. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");
}
