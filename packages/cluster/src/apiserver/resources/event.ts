/** Events of both groups: one stored form, the core one; events.k8s.io/v1 is a second way to read and write it. */
import type { KubeObject } from "@kws/kube/object";
import { immutable, invalid } from "./cause.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { column, nameColumn, since, wide } from "./table.ts";

const reference = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

export const event: ResourceDefinition = define(
  { group: "", kind: "Event", resource: "events" },
  {
    shortNames: ["ev"],
    setDefaults(object) {
      object["involvedObject"] ??= {};
      object["source"] ??= {};
    },
    validate(object, old) {
      const involved: Fields = object["involvedObject"] ?? {};
      const causes =
        (involved["namespace"] || "default") === object.metadata.namespace
          ? []
          : [invalid("involvedObject.namespace", involved["namespace"], "does not match event.namespace")];
      // A client that writes eventTime follows the rules of the newer group.
      if (!object["eventTime"] || old === undefined) return causes;
      return [
        ...causes,
        ...["involvedObject", "reason", "type", "reportingComponent", "reportingInstance", "action"].flatMap(
          (field) => immutable(field, object[field], old[field]),
        ),
      ];
    },
    selectableFields: {
      ...Object.fromEntries(
        reference.map((field) => [
          `involvedObject.${field}`,
          (object: KubeObject) => String(object["involvedObject"]?.[field] ?? ""),
        ]),
      ),
      reason: (object) => object["reason"] ?? "",
      reportingComponent: (object) => object["reportingComponent"] ?? "",
      source: (object) => object["source"]?.component || object["reportingComponent"] || "",
      type: (object) => object["type"] ?? "",
    },
    columns: [
      column("Last Seen", "Time since it was seen last."),
      column("Type", "Normal or Warning."),
      column("Reason", "Why it happened, in one word."),
      column("Object", "What it is about."),
      wide("Subobject", "The part of it that it is about."),
      wide("Source", "What reported it."),
      column("Message", "What happened."),
      wide("First Seen", "Time since it was seen first."),
      wide("Count", "How often it was seen."),
      { ...nameColumn, priority: 1 },
    ],
    row: eventRow,
  },
);

function eventRow(object: KubeObject, now: number): string[] {
  const involved: Fields = object["involvedObject"] ?? {};
  const first = object["firstTimestamp"] || object["eventTime"];
  const series: Fields | undefined = object["series"] ?? undefined;
  const last = series?.["lastObservedTime"] || object["lastTimestamp"] || first;
  const kind = String(involved["kind"] ?? "").toLowerCase();
  return [
    since(last, now),
    object["type"] ?? "",
    object["reason"] ?? "",
    involved["name"] ? `${kind}/${involved["name"]}` : kind,
    involved["fieldPath"] ?? "",
    sourceOf(object),
    String(object["message"] ?? "").trim(),
    since(first, now),
    String(series?.["count"] || object["count"] || 1),
    object.metadata.name,
  ];
}

function sourceOf(object: KubeObject): string {
  const component = object["source"]?.component || object["reportingComponent"] || "";
  const host = object["source"]?.host || object["reportingInstance"] || "";
  return host === "" ? component : `${component}, ${host}`;
}

const renamed: [newer: string, core: string][] = [
  ["regarding", "involvedObject"],
  ["note", "message"],
  ["reportingController", "reportingComponent"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
];

function rename(object: KubeObject, apiVersion: string, pairs: [from: string, to: string][]): KubeObject {
  const result: KubeObject = { ...object, apiVersion };
  for (const [from, to] of pairs) {
    if (result[from] === undefined) continue;
    result[to] = result[from];
    delete result[from];
  }
  return result;
}

export const newerEvent: ResourceDefinition = {
  ...event,
  group: "events.k8s.io",
  storedAs: {
    group: "",
    version: "v1",
    resource: "events",
    toStored: (object) => rename(object, "v1", renamed),
    fromStored: (object) =>
      rename(
        object,
        "events.k8s.io/v1",
        renamed.map(([newer, core]) => [core, newer]),
      ),
  },
  setDefaults(object) {
    object["regarding"] ??= {};
  },
  validate: (object, old) => {
    const toCore = (given: KubeObject) => rename(given, "v1", renamed);
    return event.validate?.(toCore(object), old === undefined ? undefined : toCore(old)) ?? [];
  },
  selectableFields: {
    ...Object.fromEntries(
      reference.map((field) => [
        `regarding.${field}`,
        (object: KubeObject) => String(object["regarding"]?.[field] ?? ""),
      ]),
    ),
    reason: (object) => object["reason"] ?? "",
    reportingController: (object) => object["reportingController"] ?? "",
    type: (object) => object["type"] ?? "",
  },
  row: (object, now) => eventRow(rename(object, "v1", renamed), now),
};
