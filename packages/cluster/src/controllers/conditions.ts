/** Conditions of a status: a list keyed by type whose transition time moves only when the status does. */
import { timestamp } from "./context.ts";

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
  lastProbeTime?: string | null;
}

export function conditionOf(conditions: Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** The list with the condition set; the same list where nothing about it changed. */
export function withCondition(
  conditions: Condition[] | undefined,
  next: Condition,
  now: number,
): Condition[] {
  const list = conditions ?? [];
  const old = conditionOf(list, next.type);
  if (
    old !== undefined &&
    old.status === next.status &&
    old.reason === next.reason &&
    old.message === next.message
  ) {
    return list;
  }
  const lastTransitionTime =
    old?.status === next.status ? (old.lastTransitionTime ?? timestamp(now)) : timestamp(now);
  const condition = { ...next, lastTransitionTime };
  if (old === undefined) return [...list, condition];
  return list.map((item) => (item === old ? condition : item));
}

export function withoutCondition(conditions: Condition[] | undefined, type: string): Condition[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}
