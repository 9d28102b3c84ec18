/** What the tables of `kubectl get` are made of: columns, durations, lists and selectors as upstream prints them. */
import type { KubeObject } from "@kws/kube/object";
import { formatSelector, toRequirements, type LabelSelector } from "@kws/kube/selector";
import { textOf } from "./loose.ts";
import type { Column, Fields } from "./resource.ts";

type ColumnOptions = Partial<Pick<Column, "type" | "format" | "priority">>;

export function column(name: string, description: string, options: ColumnOptions = {}): Column {
  return { name, type: "string", description, priority: 0, ...options };
}

/** Shown with `-o wide` only. */
export function wide(name: string, description: string): Column {
  return column(name, description, { priority: 1 });
}

export const nameColumn: Column = column("Name", "Name, unique within a namespace.", { format: "name" });
export const ageColumn: Column = column("Age", "Time since the object was created.");
export const createdAtColumn: Column = column("Created At", "When the object was created.", { type: "date" });

export const containerColumns: Column[] = [
  wide("Containers", "Names of each container in the template."),
  wide("Images", "Images referenced by each container in the template."),
];
export const selectorColumn: Column = wide("Selector", "Label selector of the pods that belong to it.");

/** As `HumanDuration` of k8s.io/apimachinery: about two significant units. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 24 * 8) return pair(days, "d", hours % 24, "h");
  if (hours < 24 * 365 * 2) return `${days}d`;
  if (hours < 24 * 365 * 8) return pair(Math.floor(days / 365), "y", days % 365, "d");
  return `${Math.floor(days / 365)}y`;
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}

export function since(timestamp: string | undefined | null, now: number): string {
  if (timestamp === undefined || timestamp === null || timestamp === "") return "<unknown>";
  return humanDuration(now - Date.parse(timestamp));
}

export function age(object: KubeObject, now: number): string {
  return since(object.metadata.creationTimestamp, now);
}

export function formatLabels(labels: Record<string, string> | undefined | null): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? "<none>" : pairs.sort().join(",");
}

/** An absent selector prints `<none>`, as does one that selects everything. */
export function formatLabelSelector(selector: LabelSelector | undefined | null): string {
  if (selector === undefined || selector === null) return "<none>";
  const requirements = toRequirements(selector).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return requirements.length === 0 ? "<none>" : formatSelector(requirements);
}

/** The names and the images of a pod template's containers. */
export function containerCells(spec: Fields | undefined): [names: string, images: string] {
  const containers: Fields[] = spec?.["containers"] ?? [];
  return [
    containers.map((container) => String(container["name"])).join(","),
    containers.map((container) => String(container["image"])).join(","),
  ];
}

/** `<none>` for what is absent or empty. */
export function orNone(value: unknown): string {
  return value === undefined || value === null || value === "" ? "<none>" : textOf(value);
}

/** `<unset>` for what is absent or empty. */
export function orUnset(value: unknown): string {
  return value === undefined || value === null || value === "" ? "<unset>" : textOf(value);
}
