/** What bounds workloads: PodDisruptionBudgets, ResourceQuotas, LimitRanges and PriorityClasses. */
import { compareQuantities, isQuantity } from "@kws/kube/quantity";
import type { StatusCause } from "@kws/kube/status";
import { forbidden, immutable, invalid, oneOf, required } from "./cause.ts";
import { list } from "./loose.ts";
import { canonicalizeList } from "./pod-defaults.ts";
import { quantityCauses } from "./quantities.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { validateLabelSelector } from "./selector-validation.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";
import { validateIntOrPercent } from "./template-validation.ts";

export const podDisruptionBudget: ResourceDefinition = define(
  { group: "policy", kind: "PodDisruptionBudget", resource: "poddisruptionbudgets" },
  {
    shortNames: ["pdb"],
    hasStatus: true,
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const { minAvailable, maxUnavailable } = spec;
      const causes = [
        ...validateIntOrPercent("spec.minAvailable", minAvailable, 100),
        ...validateIntOrPercent("spec.maxUnavailable", maxUnavailable, 100),
        ...validateLabelSelector("spec.selector", spec["selector"]),
      ];
      if (minAvailable !== undefined && maxUnavailable !== undefined) {
        causes.push(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Min Available", "Pods that must stay available."),
      column("Max Unavailable", "Pods that may be unavailable."),
      column("Allowed Disruptions", "Pods that may be disrupted now.", { type: "integer" }),
      ageColumn,
    ],
    row(object, now) {
      const { minAvailable, maxUnavailable } = object["spec"] ?? {};
      return [
        object.metadata.name,
        String(minAvailable ?? "N/A"),
        String(maxUnavailable ?? "N/A"),
        object["status"]?.disruptionsAllowed ?? 0,
        age(object, now),
      ];
    },
  },
);

export const resourceQuota: ResourceDefinition = define(
  { group: "", kind: "ResourceQuota", resource: "resourcequotas" },
  {
    shortNames: ["quota"],
    hasStatus: true,
    setDefaults(object) {
      object["spec"] ??= {};
      canonicalizeList(object["spec"].hard);
      canonicalizeList(object["status"]?.hard);
      canonicalizeList(object["status"]?.used);
    },
    prepareForCreate(object) {
      object["status"] = {};
    },
    validate(object, old) {
      const scopes = object["spec"]?.scopes;
      return [
        ...quantityCauses("spec.hard", object["spec"]?.hard),
        ...(old === undefined ? [] : immutable("spec.scopes", scopes ?? [], old["spec"]?.scopes ?? [])),
      ];
    },
    columns: [
      nameColumn,
      column("Request", "Of requests and counts: what is used and what may be."),
      column("Limit", "Of limits: what is used and what may be."),
      ageColumn,
    ],
    row(object, now) {
      const status: Fields = object["status"] ?? {};
      const cells = Object.keys(status["hard"] ?? {})
        .sort()
        .map((name) => ({
          limit: name.startsWith("limits."),
          text: `${name}: ${status["used"]?.[name] ?? "0"}/${status["hard"][name]}`,
        }));
      const texts = (limit: boolean) => cells.filter((cell) => cell.limit === limit).map(({ text }) => text);
      return [object.metadata.name, texts(false).join(", "), texts(true).join(", "), age(object, now)];
    },
  },
);

const limitFields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

export const limitRange: ResourceDefinition = define(
  { group: "", kind: "LimitRange", resource: "limitranges" },
  {
    shortNames: ["limits"],
    setDefaults(object) {
      for (const item of list(object["spec"]?.limits)) {
        for (const field of limitFields) canonicalizeList(item[field]);
        if (item["type"] !== "Container") continue;
        item["default"] = { ...item["max"], ...item["default"] };
        item["defaultRequest"] = { ...item["min"], ...item["default"], ...item["defaultRequest"] };
        for (const field of ["default", "defaultRequest"]) {
          if (Object.keys(item[field]).length === 0) delete item[field];
        }
      }
    },
    validate(object) {
      return list(object["spec"]?.limits).flatMap((item, index) =>
        validateLimit(`spec.limits[${index}]`, item),
      );
    },
  },
);

function validateLimit(path: string, item: Fields): StatusCause[] {
  const causes = item["type"] ? [] : [required(`${path}.type`)];
  for (const field of limitFields) causes.push(...quantityCauses(`${path}.${field}`, item[field]));
  if (item["type"] === "Pod") {
    for (const field of ["default", "defaultRequest"]) {
      if (item[field])
        causes.push(forbidden(`${path}.${field}`, "may not be specified when `type` is 'Pod'"));
    }
  }
  const above = (low: string, high: string, at: string) => {
    for (const [name, value] of Object.entries(item[low] ?? {})) {
      const limit = item[high]?.[name];
      if (isQuantity(value) && isQuantity(limit) && compareQuantities(value, limit) > 0) {
        causes.push(
          invalid(
            `${path}.${at}[${name}]`,
            value,
            `${wordOf[low]} value ${value} is greater than ${wordOf[high]} value ${limit}`,
          ),
        );
      }
    }
  };
  above("min", "max", "min");
  above("defaultRequest", "max", "defaultRequest");
  above("default", "max", "default");
  above("defaultRequest", "default", "defaultRequest");
  above("min", "defaultRequest", "defaultRequest");
  above("min", "default", "default");
  return causes;
}

const wordOf: Record<string, string> = {
  min: "min",
  max: "max",
  default: "default",
  defaultRequest: "default request",
};

export const priorityClass: ResourceDefinition = define(
  { group: "scheduling.k8s.io", kind: "PriorityClass", resource: "priorityclasses", namespaced: false },
  {
    shortNames: ["pc"],
    setDefaults(object) {
      object["preemptionPolicy"] ??= "PreemptLowerPriority";
      object["value"] ??= 0;
    },
    validate(object, old) {
      const { name } = object.metadata;
      const causes = oneOf("preemptionPolicy", object["preemptionPolicy"], ["Never", "PreemptLowerPriority"]);
      if (name?.startsWith("system-")) {
        if (name !== "system-cluster-critical" && name !== "system-node-critical") {
          causes.push(
            forbidden(
              "metadata.name",
              "priority class names with 'system-' prefix are reserved for system use only",
            ),
          );
        }
      } else if (Number(object["value"]) > 1_000_000_000) {
        causes.push(forbidden("value", "maximum allowed value of a user defined priority is 1000000000"));
      }
      if (old === undefined) return causes;
      if (object["value"] !== old["value"]) {
        causes.push(forbidden("value", "may not be changed in an update."));
      }
      return [
        ...causes,
        ...immutable("preemptionPolicy", object["preemptionPolicy"], old["preemptionPolicy"]),
      ];
    },
    columns: [
      nameColumn,
      column("Value", "The priority of pods of this class.", { type: "integer" }),
      column("Global-Default", "Whether pods without a class belong to it.", { type: "boolean" }),
      ageColumn,
      column("PreemptionPolicy", "Whether its pods push others out."),
    ],
    row: (object, now) => [
      object.metadata.name,
      object["value"] ?? 0,
      object["globalDefault"] ?? false,
      age(object, now),
      object["preemptionPolicy"] ?? "PreemptLowerPriority",
    ],
  },
);
