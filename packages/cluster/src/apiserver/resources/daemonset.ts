/** DaemonSets, and the ControllerRevisions in which they and StatefulSets keep their past. */
import { immutable, invalid, nonNegative, oneOf } from "./cause.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
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
import { validateIntOrPercent, validateSelectedTemplate } from "./template-validation.ts";

const count = (name: string, description: string) => column(name, description, { type: "integer" });

export const daemonSet: ResourceDefinition = define(
  { group: "apps", kind: "DaemonSet", resource: "daemonsets" },
  {
    shortNames: ["ds"],
    categories: ["all"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.updateStrategy ??= {};
      spec.updateStrategy.type ||= "RollingUpdate";
      if (spec.updateStrategy.type === "RollingUpdate") {
        spec.updateStrategy.rollingUpdate ??= {};
        spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
        spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
      }
      spec.revisionHistoryLimit ??= 10;
      setPodTemplateDefaults(spec.template);
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const path = "spec.updateStrategy";
      const causes = [
        ...nonNegative("spec.minReadySeconds", spec["minReadySeconds"]),
        ...nonNegative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"]),
        ...oneOf(`${path}.type`, spec["updateStrategy"]?.type, ["OnDelete", "RollingUpdate"]),
        ...validateSelectedTemplate(spec, { restartPolicies: ["Always"], kind: "daemonset" }),
      ];
      const rolling: Fields | undefined = spec["updateStrategy"]?.rollingUpdate ?? undefined;
      if (rolling !== undefined) {
        const { maxUnavailable, maxSurge } = rolling;
        causes.push(...validateIntOrPercent(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable, 100));
        causes.push(...validateIntOrPercent(`${path}.rollingUpdate.maxSurge`, maxSurge, 100));
        const [unavailable, surge] = [maxUnavailable, maxSurge].map((value) =>
          Number.parseInt(String(value), 10),
        );
        if (unavailable === 0 && surge === 0) {
          causes.push(
            invalid(`${path}.rollingUpdate.maxUnavailable`, maxUnavailable, "cannot be 0 when maxSurge is 0"),
          );
        }
      }
      if (old !== undefined)
        causes.push(...immutable("spec.selector", spec["selector"], old["spec"]?.selector));
      return causes;
    },
    columns: [
      nameColumn,
      count("Desired", "Number of nodes that should run the daemon."),
      count("Current", "Number of nodes that run it and should."),
      count("Ready", "Number of nodes whose daemon pod is ready."),
      count("Up-to-date", "Number of nodes that run the current template."),
      count("Available", "Number of nodes whose daemon pod has been ready for minReadySeconds."),
      column("Node Selector", "Labels that a node must have to run the daemon."),
      ageColumn,
      ...containerColumns,
      selectorColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      return [
        object.metadata.name,
        status["desiredNumberScheduled"] ?? 0,
        status["currentNumberScheduled"] ?? 0,
        status["numberReady"] ?? 0,
        status["updatedNumberScheduled"] ?? 0,
        status["numberAvailable"] ?? 0,
        formatLabels(spec["template"]?.spec?.nodeSelector),
        age(object, now),
        ...containerCells(spec["template"]?.spec),
        formatLabelSelector(spec["selector"]),
      ];
    },
  },
);

export const controllerRevision: ResourceDefinition = define(
  { group: "apps", kind: "ControllerRevision", resource: "controllerrevisions" },
  {
    validate(object, old) {
      const causes = nonNegative("revision", object["revision"]);
      return old === undefined ? causes : [...causes, ...immutable("data", object["data"], old["data"])];
    },
    columns: [
      nameColumn,
      column("Controller", "The object whose past this is."),
      column("Revision", "The number of the revision."),
      ageColumn,
    ],
    row(object, now) {
      const owner = object.metadata.ownerReferences?.find(({ controller }) => controller === true);
      const { group } = { group: owner?.apiVersion.split("/").slice(0, -1).join("/") ?? "" };
      const kind = owner?.kind.toLowerCase() ?? "";
      const controller =
        owner === undefined ? "<none>" : `${kind}${group === "" ? "" : `.${group}`}/${owner.name}`;
      return [object.metadata.name, controller, String(object["revision"] ?? 0), age(object, now)];
    },
  },
);
