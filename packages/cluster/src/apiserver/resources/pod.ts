/** Pods and PodTemplates. */
import type { KubeObject } from "@kws/kube/object";
import { setPodOnlyDefaults, setPodSpecDefaults, setPodTemplateDefaults } from "./pod-defaults.ts";
import { podColumns, podRow } from "./pod-row.ts";
import { validatePod } from "./pod-validation.ts";
import { qosClassOf } from "./pod-qos.ts";
import type { ResourceDefinition } from "./resource.ts";
import { column, containerCells, formatLabels, nameColumn } from "./table.ts";
import { validatePodTemplate } from "./template-validation.ts";

export const pod: ResourceDefinition = {
  group: "",
  version: "v1",
  kind: "Pod",
  resource: "pods",
  singular: "pod",
  shortNames: ["po"],
  categories: ["all"],
  namespaced: true,
  hasStatus: true,
  setDefaults(object) {
    object["spec"] ??= {};
    setPodSpecDefaults(object["spec"]);
    setPodOnlyDefaults(object["spec"]);
  },
  prepareForCreate(object) {
    object["status"] = { phase: "Pending", qosClass: qosClassOf(object["spec"] ?? {}) };
  },
  prepareForUpdate(object, old, subresource) {
    // A binding also writes the condition PodScheduled.
    if (subresource !== "binding") object["status"] = old["status"];
  },
  validate: validatePod,
  selectableFields: {
    "spec.nodeName": (object) => object["spec"]?.nodeName ?? "",
    "spec.restartPolicy": (object) => object["spec"]?.restartPolicy ?? "",
    "spec.schedulerName": (object) => object["spec"]?.schedulerName ?? "",
    "spec.serviceAccountName": (object) => object["spec"]?.serviceAccountName ?? "",
    "spec.hostNetwork": (object) => String(object["spec"]?.hostNetwork ?? false),
    "status.phase": (object) => object["status"]?.phase ?? "",
    "status.podIP": (object) => podIpOf(object),
    "status.podIPs": (object) => podIpOf(object),
    "status.nominatedNodeName": (object) => object["status"]?.nominatedNodeName ?? "",
  },
  columns: podColumns,
  row: podRow,
};

function podIpOf(object: KubeObject): string {
  return object["status"]?.podIP ?? "";
}

export const podTemplate: ResourceDefinition = {
  group: "",
  version: "v1",
  kind: "PodTemplate",
  resource: "podtemplates",
  singular: "podtemplate",
  shortNames: [],
  categories: [],
  namespaced: true,
  hasStatus: false,
  setDefaults(object) {
    setPodTemplateDefaults(object["template"]);
  },
  validate: (object) => validatePodTemplate(object["template"], "template"),
  columns: [
    nameColumn,
    column("Containers", "Names of each container in the template."),
    column("Images", "Images referenced by each container in the template."),
    column("Pod Labels", "The labels of pods made from the template."),
  ],
  row(object) {
    const template = object["template"] ?? {};
    return [object.metadata.name, ...containerCells(template.spec), formatLabels(template.metadata?.labels)];
  },
};
