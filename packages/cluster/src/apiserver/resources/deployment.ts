/** Deployments. */
import type { StatusCause } from "@kws/kube/status";
import { immutable, invalid, nonNegative, oneOf } from "./cause.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import {
  ageColumn,
  age,
  column,
  containerCells,
  containerColumns,
  formatLabelSelector,
  nameColumn,
  selectorColumn,
} from "./table.ts";
import { validateIntOrPercent, validateSelectedTemplate } from "./template-validation.ts";

export const deployment: ResourceDefinition = define(
  { group: "apps", kind: "Deployment", resource: "deployments" },
  {
    shortNames: ["deploy"],
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
      spec.strategy ??= {};
      spec.strategy.type ||= "RollingUpdate";
      if (spec.strategy.type === "RollingUpdate") {
        spec.strategy.rollingUpdate ??= {};
        spec.strategy.rollingUpdate.maxUnavailable ??= "25%";
        spec.strategy.rollingUpdate.maxSurge ??= "25%";
      }
      spec.revisionHistoryLimit ??= 10;
      spec.progressDeadlineSeconds ??= 600;
      setPodTemplateDefaults(spec.template);
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const causes = [
        ...nonNegative("spec.replicas", spec["replicas"]),
        ...nonNegative("spec.minReadySeconds", spec["minReadySeconds"]),
        ...nonNegative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"]),
        ...nonNegative("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"]),
        ...validateSelectedTemplate(spec, { restartPolicies: ["Always"] }),
        ...validateStrategy(spec["strategy"] ?? {}),
      ];
      if (Number(spec["progressDeadlineSeconds"]) <= Number(spec["minReadySeconds"] ?? 0)) {
        causes.push(
          invalid(
            "spec.progressDeadlineSeconds",
            spec["progressDeadlineSeconds"],
            "must be greater than minReadySeconds",
          ),
        );
      }
      if (old !== undefined) {
        causes.push(...immutable("spec.selector", spec["selector"], old["spec"]?.selector));
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Ready", "Number of pods with a Ready condition, of those wanted."),
      column("Up-to-date", "Number of pods made from the current template.", { type: "string" }),
      column("Available", "Number of pods that have been ready for minReadySeconds."),
      ageColumn,
      ...containerColumns,
      selectorColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      return [
        object.metadata.name,
        `${status["readyReplicas"] ?? 0}/${spec["replicas"] ?? 0}`,
        String(status["updatedReplicas"] ?? 0),
        String(status["availableReplicas"] ?? 0),
        age(object, now),
        ...containerCells(spec["template"]?.spec),
        formatLabelSelector(spec["selector"]),
      ];
    },
  },
);

function validateStrategy(strategy: Fields): StatusCause[] {
  const path = "spec.strategy";
  const causes = oneOf(`${path}.type`, strategy["type"], ["Recreate", "RollingUpdate"]);
  const rolling: Fields | undefined = strategy["rollingUpdate"] ?? undefined;
  if (rolling === undefined) return causes;
  if (strategy["type"] === "Recreate") {
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: may not be specified when strategy `type` is 'Recreate'",
      field: `${path}.rollingUpdate`,
    });
    return causes;
  }
  const { maxUnavailable, maxSurge } = rolling;
  causes.push(...validateIntOrPercent(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable, 100));
  causes.push(...validateIntOrPercent(`${path}.rollingUpdate.maxSurge`, maxSurge));
  if (isZero(maxUnavailable) && isZero(maxSurge)) {
    causes.push(
      invalid(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable, "may not be 0 when `maxSurge` is 0"),
    );
  }
  return causes;
}

function isZero(value: unknown): boolean {
  return Number.parseInt(String(value), 10) === 0;
}
