/** ReplicaSets and their elder, ReplicationControllers. */
import { immutable, nonNegative, required } from "./cause.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import type { Column, Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import {
  age,
  ageColumn,
  column,
  containerCells,
  containerColumns,
  formatLabels,
  formatLabelSelector,
  nameColumn,
  selectorColumn,
} from "./table.ts";
import { validatePodTemplate, validateSelectedTemplate } from "./template-validation.ts";

const columns: Column[] = [
  nameColumn,
  column("Desired", "Number of pods wanted.", { type: "integer" }),
  column("Current", "Number of pods that exist.", { type: "integer" }),
  column("Ready", "Number of pods with a Ready condition.", { type: "integer" }),
  ageColumn,
  ...containerColumns,
  selectorColumn,
];

export const replicaSet: ResourceDefinition = define(
  { group: "apps", kind: "ReplicaSet", resource: "replicasets" },
  {
    shortNames: ["rs"],
    categories: ["all"],
    hasStatus: true,
    scale: {
      specReplicas: ".spec.replicas",
      statusReplicas: ".status.replicas",
      labelSelector: ".spec.selector",
    },
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.replicas ??= 1;
      setPodTemplateDefaults(spec.template);
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      return [
        ...nonNegative("spec.replicas", spec["replicas"]),
        ...nonNegative("spec.minReadySeconds", spec["minReadySeconds"]),
        ...validateSelectedTemplate(spec, { restartPolicies: ["Always"] }),
        ...(old === undefined ? [] : immutable("spec.selector", spec["selector"], old["spec"]?.selector)),
      ];
    },
    selectableFields: { "status.replicas": (object) => String(object["status"]?.replicas ?? 0) },
    columns,
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      return [
        object.metadata.name,
        spec["replicas"] ?? 0,
        status["replicas"] ?? 0,
        status["readyReplicas"] ?? 0,
        age(object, now),
        ...containerCells(spec["template"]?.spec),
        formatLabelSelector(spec["selector"]),
      ];
    },
  },
);

export const replicationController: ResourceDefinition = define(
  { group: "", kind: "ReplicationController", resource: "replicationcontrollers" },
  {
    shortNames: ["rc"],
    categories: ["all"],
    hasStatus: true,
    scale: {
      specReplicas: ".spec.replicas",
      statusReplicas: ".status.replicas",
      labelSelector: ".spec.selector",
    },
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.replicas ??= 1;
      setPodTemplateDefaults(spec.template);
      const labels = spec.template?.metadata?.labels;
      if (labels === undefined || labels === null) return;
      if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
      if (Object.keys(object.metadata.labels ?? {}).length === 0) object.metadata.labels = { ...labels };
    },
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const causes = [
        ...nonNegative("spec.replicas", spec["replicas"]),
        ...nonNegative("spec.minReadySeconds", spec["minReadySeconds"]),
      ];
      if (Object.keys(spec["selector"] ?? {}).length === 0) causes.push(required("spec.selector"));
      if (!spec["template"]) return [...causes, required("spec.template")];
      const path = "spec.template";
      causes.push(...validatePodTemplate(spec["template"], path, { restartPolicies: ["Always"] }));
      const labels: Record<string, string> = spec["template"].metadata?.labels ?? {};
      if (!Object.entries(spec["selector"] ?? {}).every(([key, value]) => labels[key] === value)) {
        causes.push({
          reason: "FieldValueInvalid",
          message: `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``,
          field: `${path}.metadata.labels`,
        });
      }
      return causes;
    },
    selectableFields: { "status.replicas": (object) => String(object["status"]?.replicas ?? 0) },
    columns,
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      return [
        object.metadata.name,
        spec["replicas"] ?? 0,
        status["replicas"] ?? 0,
        status["readyReplicas"] ?? 0,
        age(object, now),
        ...containerCells(spec["template"]?.spec),
        formatLabels(spec["selector"]),
      ];
    },
  },
);
