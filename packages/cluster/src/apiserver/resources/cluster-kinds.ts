/** Namespaces and Nodes: what the rest of a cluster lives in. */
import type { KubeObject } from "@kws/kube/object";
import { forbidden, immutable, invalid, required } from "./cause.ts";
import { list, textOf } from "./loose.ts";
import { canonicalizeList } from "./pod-defaults.ts";
import { checkLabelValue, checkQualifiedName } from "./names.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn, wide } from "./table.ts";

export const namespace: ResourceDefinition = define(
  { group: "", kind: "Namespace", resource: "namespaces", namespaced: false },
  {
    shortNames: ["ns"],
    // Nobody deletes all namespaces by mistake.
    verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
    hasStatus: true,
    nameFormat: "dns1123label",
    setDefaults(object) {
      object["spec"] ??= {};
      if (object.metadata.name) {
        object.metadata.labels ??= {};
        object.metadata.labels["kubernetes.io/metadata.name"] ??= object.metadata.name;
      }
    },
    prepareForCreate(object) {
      object.metadata.labels = {
        ...object.metadata.labels,
        ...(object.metadata.name ? { "kubernetes.io/metadata.name": object.metadata.name } : {}),
      };
      const finalizers: string[] = object["spec"]?.finalizers ?? [];
      object["spec"] = { ...object["spec"], finalizers: [...new Set([...finalizers, "kubernetes"])] };
      object["status"] = { phase: "Active" };
    },
    prepareForUpdate(object, old, subresource) {
      // Only what ends a namespace takes its finalizers away.
      const ending = subresource === "finalize" || old.metadata.deletionTimestamp !== undefined;
      const kept: unknown = ending ? (object["spec"]?.finalizers ?? []) : old["spec"]?.finalizers;
      object["spec"] = { ...object["spec"], finalizers: kept };
      object["status"] = old["status"];
      object.metadata.labels = {
        ...object.metadata.labels,
        "kubernetes.io/metadata.name": object.metadata.name,
      };
    },
    selectableFields: {
      "status.phase": (object) => object["status"]?.phase ?? "",
      name: (object) => object.metadata.name,
    },
    columns: [nameColumn, column("Status", "The status of the namespace."), ageColumn],
    row: (object, now) => [object.metadata.name, object["status"]?.phase ?? "", age(object, now)],
  },
);

const rolePrefix = "node-role.kubernetes.io/";
const taintEffects = new Set(["NoSchedule", "PreferNoSchedule", "NoExecute"]);

export const node: ResourceDefinition = define(
  { group: "", kind: "Node", resource: "nodes", namespaced: false },
  {
    shortNames: ["no"],
    hasStatus: true,
    setDefaults(object) {
      object["spec"] ??= {};
      object["status"] ??= {};
      canonicalizeList(object["status"].capacity);
      canonicalizeList(object["status"].allocatable);
      if (object["status"].allocatable === undefined && object["status"].capacity !== undefined) {
        object["status"].allocatable = { ...object["status"].capacity };
      }
    },
    // A kubelet registers itself with its first status, which is why a create may carry one.
    prepareForCreate() {},
    validate(object, old) {
      const causes = list(object["spec"]?.taints).flatMap((taint, index) => {
        const path = `spec.taints[${index}]`;
        return [
          checkQualifiedName(String(taint["key"] ?? "")).map((detail) =>
            invalid(`${path}.key`, taint["key"], detail),
          ),
          checkLabelValue(String(taint["value"] ?? "")).map((detail) =>
            invalid(`${path}.value`, taint["value"], detail),
          ),
          taint["effect"] ? [] : [required(`${path}.effect`)],
          taint["effect"] && !taintEffects.has(taint["effect"])
            ? [
                {
                  reason: "FieldValueNotSupported",
                  message: `Unsupported value: ${JSON.stringify(taint["effect"])}: supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
                  field: `${path}.effect`,
                },
              ]
            : [],
        ].flat();
      });
      if (old === undefined) return causes;
      const { podCIDR, providerID } = old["spec"] ?? {};
      if (podCIDR) causes.push(...immutable("spec.podCIDR", object["spec"]?.podCIDR, podCIDR));
      if (providerID && providerID !== object["spec"]?.providerID) {
        causes.push(
          forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'),
        );
      }
      return causes;
    },
    selectableFields: { "spec.unschedulable": (object) => String(object["spec"]?.unschedulable ?? false) },
    columns: [
      nameColumn,
      column("Status", "The status of the node."),
      column("Roles", "The roles of the node."),
      ageColumn,
      column("Version", "The version of its kubelet."),
      wide("Internal-IP", "Address within the cluster's network."),
      wide("External-IP", "Address outside of it."),
      wide("OS-Image", "The operating system it runs."),
      wide("Kernel-Version", "The kernel it runs."),
      wide("Container-Runtime", "What runs its containers."),
    ],
    row(object, now) {
      const info: Fields = object["status"]?.nodeInfo ?? {};
      const unknown = (value: unknown) => textOf(value) || "<unknown>";
      return [
        object.metadata.name,
        statusOf(object),
        rolesOf(object),
        age(object, now),
        info["kubeletVersion"] ?? "",
        addressOf(object, "InternalIP"),
        addressOf(object, "ExternalIP"),
        unknown(info["osImage"]),
        unknown(info["kernelVersion"]),
        unknown(info["containerRuntimeVersion"]),
      ];
    },
  },
);

function statusOf(object: KubeObject): string {
  const ready = list(object["status"]?.conditions).find(({ type }) => type === "Ready");
  const status = ready === undefined ? "Unknown" : ready["status"] === "True" ? "Ready" : "NotReady";
  return object["spec"]?.unschedulable === true ? `${status},SchedulingDisabled` : status;
}

function rolesOf(object: KubeObject): string {
  const roles = Object.entries(object.metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix) && key.length > rolePrefix.length) return [key.slice(rolePrefix.length)];
    return key === "kubernetes.io/role" && value !== "" ? [value] : [];
  });
  return roles.length === 0 ? "<none>" : [...new Set(roles)].sort().join(",");
}

function addressOf(object: KubeObject, type: string): string {
  return (
    list(object["status"]?.addresses).find((address) => address["type"] === type)?.["address"] ?? "<none>"
  );
}
