/** StatefulSets. */
import { forbidden, nonNegative, oneOf, same } from "./cause.ts";
import { list } from "./loose.ts";
import { setClaimSpecDefaults, setPodTemplateDefaults } from "./pod-defaults.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, containerCells, containerColumns, nameColumn } from "./table.ts";
import { validateSelectedTemplate } from "./template-validation.ts";

const updatable = new Set([
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
]);

export const statefulSet: ResourceDefinition = define(
  { group: "apps", kind: "StatefulSet", resource: "statefulsets" },
  {
    shortNames: ["sts"],
    categories: ["all"],
    hasStatus: true,
    nameFormat: "dns1123label",
    scale: {
      specReplicas: ".spec.replicas",
      statusReplicas: ".status.replicas",
      labelSelector: ".spec.selector",
    },
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.podManagementPolicy ||= "OrderedReady";
      spec.updateStrategy ??= {};
      spec.updateStrategy.type ||= "RollingUpdate";
      if (spec.updateStrategy.type === "RollingUpdate") {
        spec.updateStrategy.rollingUpdate ??= {};
        spec.updateStrategy.rollingUpdate.partition ??= 0;
      }
      spec.persistentVolumeClaimRetentionPolicy ??= {};
      spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= "Retain";
      spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= "Retain";
      spec.replicas ??= 1;
      spec.revisionHistoryLimit ??= 10;
      spec.serviceName ??= "";
      setPodTemplateDefaults(spec.template);
      for (const claim of list(spec.volumeClaimTemplates)) {
        claim["apiVersion"] ??= "v1";
        claim["kind"] ??= "PersistentVolumeClaim";
        claim["metadata"] ??= {};
        claim["status"] ??= {};
        claim["status"].phase ??= "Pending";
        setClaimSpecDefaults(claim["spec"]);
      }
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const causes = [
        ...nonNegative("spec.replicas", spec["replicas"]),
        ...nonNegative("spec.minReadySeconds", spec["minReadySeconds"]),
        ...nonNegative("spec.ordinals.start", spec["ordinals"]?.start),
        ...nonNegative(
          "spec.updateStrategy.rollingUpdate.partition",
          spec["updateStrategy"]?.rollingUpdate?.partition,
        ),
        ...oneOf("spec.podManagementPolicy", spec["podManagementPolicy"], ["OrderedReady", "Parallel"]),
        ...oneOf("spec.updateStrategy.type", spec["updateStrategy"]?.type, ["OnDelete", "RollingUpdate"]),
        ...["whenDeleted", "whenScaled"].flatMap((field) =>
          oneOf(
            `spec.persistentVolumeClaimRetentionPolicy.${field}`,
            spec["persistentVolumeClaimRetentionPolicy"]?.[field],
            ["Delete", "Retain"],
          ),
        ),
        ...validateSelectedTemplate(spec, {
          restartPolicies: ["Always"],
          kind: "statefulset",
          extraVolumes: list(spec["volumeClaimTemplates"]).map((claim) => String(claim["metadata"]?.name)),
        }),
      ];
      if (old !== undefined && !same(fixed(spec), fixed(old["spec"] ?? {}))) {
        causes.push(
          forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
          ),
        );
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Ready", "Number of pods with a Ready condition, of those wanted."),
      ageColumn,
      ...containerColumns,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      return [
        object.metadata.name,
        `${object["status"]?.readyReplicas ?? 0}/${spec["replicas"] ?? 0}`,
        age(object, now),
        ...containerCells(spec["template"]?.spec),
      ];
    },
  },
);

function fixed(spec: Fields): Fields {
  return Object.fromEntries(Object.entries(spec).filter(([field]) => !updatable.has(field)));
}
