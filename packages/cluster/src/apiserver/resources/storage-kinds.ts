/** PersistentVolumes, their claims, StorageClasses and the CSI kinds. */
import type { StatusCause } from "@kws/kube/status";
import { compareQuantities, isQuantity } from "@kws/kube/quantity";
import { forbidden, immutable, invalid, oneOf, required, same } from "./cause.ts";
import { omit } from "./loose.ts";
import { canonicalizeList, setClaimSpecDefaults } from "./pod-defaults.ts";
import { quantityCauses } from "./quantities.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn, orUnset, wide } from "./table.ts";

const modes: [mode: string, short: string][] = [
  ["ReadWriteOnce", "RWO"],
  ["ReadOnlyMany", "ROX"],
  ["ReadWriteMany", "RWX"],
  ["ReadWriteOncePod", "RWOP"],
];

function formatModes(given: string[] | undefined | null): string {
  return modes
    .filter(([mode]) => given?.includes(mode) === true)
    .map(([, short]) => short)
    .join(",");
}

function checkModes(path: string, given: string[] | undefined | null): StatusCause[] {
  if (!given?.length) return [required(path, "at least 1 access mode is required")];
  return given.flatMap((mode) =>
    oneOf(
      path,
      mode,
      modes.map(([name]) => name),
    ),
  );
}

const legacyClass = "volume.beta.kubernetes.io/storage-class";

export const persistentVolume: ResourceDefinition = define(
  { group: "", kind: "PersistentVolume", resource: "persistentvolumes", namespaced: false },
  {
    shortNames: ["pv"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.persistentVolumeReclaimPolicy ||= "Retain";
      spec.volumeMode ??= "Filesystem";
      canonicalizeList(spec.capacity);
      if (spec.hostPath) spec.hostPath.type ??= "";
    },
    prepareForCreate(object) {
      object["status"] = { phase: "Pending" };
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const causes = [
        ...checkModes("spec.accessModes", spec["accessModes"]),
        ...(spec["capacity"]?.storage === undefined ? [required("spec.capacity")] : []),
        ...quantityCauses("spec.capacity", spec["capacity"]),
        ...oneOf("spec.persistentVolumeReclaimPolicy", spec["persistentVolumeReclaimPolicy"], [
          "Delete",
          "Recycle",
          "Retain",
        ]),
        ...oneOf("spec.volumeMode", spec["volumeMode"], ["Block", "Filesystem"]),
      ];
      if (sourceOf(spec) === undefined) causes.push(required("spec", "must specify a volume type"));
      if (spec["local"] && !spec["nodeAffinity"]) {
        causes.push(required("spec.nodeAffinity", "Local volume requires node affinity"));
      }
      if (old !== undefined) {
        const before: Fields = old["spec"] ?? {};
        const source = sourceOf(before);
        if (source !== undefined && !same(spec[source], before[source])) {
          causes.push(
            forbidden(
              "spec.persistentvolumesource",
              "spec.persistentvolumesource is immutable after creation",
            ),
          );
        }
        causes.push(...immutable("spec.volumeMode", spec["volumeMode"], before["volumeMode"]));
      }
      return causes;
    },
    selectableFields: { name: (object) => object.metadata.name },
    columns: [
      nameColumn,
      column("Capacity", "The size of the volume."),
      column("Access Modes", "The ways in which it can be mounted."),
      column("Reclaim Policy", "What happens to it when its claim goes."),
      column("Status", "Whether it is available, bound, released or failed."),
      column("Claim", "The claim it is bound to."),
      column("StorageClass", "The class it belongs to."),
      column("VolumeAttributesClass", "The attributes class it belongs to."),
      column("Reason", "Why it is in that status."),
      ageColumn,
      wide("VolumeMode", "Whether it is a file system or a block device."),
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      const claim = spec["claimRef"] ? `${spec["claimRef"].namespace}/${spec["claimRef"].name}` : "";
      return [
        object.metadata.name,
        spec["capacity"]?.storage ?? "",
        formatModes(spec["accessModes"]),
        spec["persistentVolumeReclaimPolicy"] ?? "",
        object.metadata.deletionTimestamp ? "Terminating" : (status["phase"] ?? ""),
        claim,
        object.metadata.annotations?.[legacyClass] ?? spec["storageClassName"] ?? "",
        orUnset(spec["volumeAttributesClassName"]),
        status["reason"] ?? "",
        age(object, now),
        orUnset(spec["volumeMode"]),
      ];
    },
  },
);

const notSources = new Set([
  "accessModes",
  "capacity",
  "claimRef",
  "mountOptions",
  "nodeAffinity",
  "persistentVolumeReclaimPolicy",
  "storageClassName",
  "volumeAttributesClassName",
  "volumeMode",
]);

function sourceOf(spec: Fields): string | undefined {
  return Object.keys(spec).find((field) => !notSources.has(field) && spec[field] !== null);
}

export const persistentVolumeClaim: ResourceDefinition = define(
  { group: "", kind: "PersistentVolumeClaim", resource: "persistentvolumeclaims" },
  {
    shortNames: ["pvc"],
    hasStatus: true,
    setDefaults(object) {
      object["spec"] ??= {};
      setClaimSpecDefaults(object["spec"]);
      const { dataSource, dataSourceRef } = object["spec"];
      if (dataSource && !dataSourceRef) object["spec"].dataSourceRef = { ...dataSource };
      if (dataSourceRef && !dataSource && !dataSourceRef.namespace)
        object["spec"].dataSource = { ...dataSourceRef };
    },
    prepareForCreate(object) {
      object["status"] = { phase: "Pending" };
    },
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const causes = validateClaimSpec("spec", spec);
      return old === undefined
        ? causes
        : [...causes, ...validateClaimUpdate(spec, old["spec"] ?? {}, old["status"])];
    },
    selectableFields: { name: (object) => object.metadata.name },
    columns: [
      nameColumn,
      column("Status", "Whether the claim is pending, bound or lost."),
      column("Volume", "The volume it is bound to."),
      column("Capacity", "The size of that volume."),
      column("Access Modes", "The ways in which it can be mounted."),
      column("StorageClass", "The class it asks for."),
      column("VolumeAttributesClass", "The attributes class it asks for."),
      ageColumn,
      wide("VolumeMode", "Whether it is a file system or a block device."),
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const status: Fields = object["status"] ?? {};
      const bound = Boolean(spec["volumeName"]);
      return [
        object.metadata.name,
        object.metadata.deletionTimestamp ? "Terminating" : (status["phase"] ?? ""),
        spec["volumeName"] ?? "",
        bound ? (status["capacity"]?.storage ?? "0") : "",
        bound ? formatModes(status["accessModes"]) : "",
        object.metadata.annotations?.[legacyClass] ?? spec["storageClassName"] ?? "",
        orUnset(spec["volumeAttributesClassName"]),
        age(object, now),
        orUnset(spec["volumeMode"]),
      ];
    },
  },
);

export function validateClaimSpec(path: string, spec: Fields): StatusCause[] {
  const storage = spec["resources"]?.requests?.storage;
  const causes = [
    ...checkModes(`${path}.accessModes`, spec["accessModes"]),
    ...oneOf(`${path}.volumeMode`, spec["volumeMode"], ["Block", "Filesystem"]),
    ...quantityCauses(`${path}.resources.requests`, spec["resources"]?.requests),
  ];
  if (storage === undefined || storage === null) causes.push(required(`${path}.resources[storage]`));
  else if (isQuantity(storage) && compareQuantities(storage, 0) <= 0) {
    causes.push(invalid(`${path}.resources[storage]`, storage, "must be greater than zero"));
  }
  return causes;
}

/** A bound claim may grow; a pending one may be given its volume and class; all else stays. */
function validateClaimUpdate(spec: Fields, old: Fields, oldStatus: Fields | undefined): StatusCause[] {
  const comparable = (claim: Fields): Fields => ({
    ...omit(claim, "resources", "volumeName", "volumeAttributesClassName", "storageClassName"),
    resources: { ...claim["resources"], requests: omit(claim["resources"]?.requests, "storage") },
    volumeName: old["volumeName"] ? claim["volumeName"] : undefined,
    storageClassName: old["storageClassName"] === undefined ? undefined : claim["storageClassName"],
  });
  const rule =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
  if (!same(comparable(spec), comparable(old))) return [forbidden("spec", rule)];
  const size = spec["resources"]?.requests?.storage;
  const before = old["resources"]?.requests?.storage;
  if (!isQuantity(size) || !isQuantity(before) || compareQuantities(size, before) === 0) return [];
  if (oldStatus?.["phase"] !== "Bound") return [forbidden("spec", rule)];
  return compareQuantities(size, before) < 0
    ? [forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")]
    : [];
}

export const storageClass: ResourceDefinition = define(
  { group: "storage.k8s.io", kind: "StorageClass", resource: "storageclasses", namespaced: false },
  {
    shortNames: ["sc"],
    setDefaults(object) {
      object["reclaimPolicy"] ??= "Delete";
      object["volumeBindingMode"] ??= "Immediate";
    },
    validate(object, old) {
      const causes = [
        ...(object["provisioner"] ? [] : [required("provisioner")]),
        ...oneOf("reclaimPolicy", object["reclaimPolicy"], ["Delete", "Retain"]),
        ...oneOf("volumeBindingMode", object["volumeBindingMode"], ["Immediate", "WaitForFirstConsumer"]),
      ];
      if (old === undefined) return causes;
      for (const field of ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]) {
        if (!same(object[field] ?? {}, old[field] ?? {})) {
          causes.push(forbidden(field, `updates to ${field} are forbidden.`));
        }
      }
      return causes;
    },
    columns: [
      nameColumn,
      column("Provisioner", "What makes volumes of this class."),
      column("ReclaimPolicy", "What happens to a volume when its claim goes."),
      column("VolumeBindingMode", "When a claim is bound."),
      column("AllowVolumeExpansion", "Whether claims may grow.", { type: "string" }),
      ageColumn,
    ],
    row(object, now) {
      const isDefault =
        object.metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true" ||
        object.metadata.annotations?.["storageclass.beta.kubernetes.io/is-default-class"] === "true";
      return [
        isDefault ? `${object.metadata.name} (default)` : object.metadata.name,
        object["provisioner"] ?? "",
        object["reclaimPolicy"] ?? "Delete",
        object["volumeBindingMode"] ?? "Immediate",
        String(object["allowVolumeExpansion"] ?? false),
        age(object, now),
      ];
    },
  },
);

export const volumeAttachment: ResourceDefinition = define(
  { group: "storage.k8s.io", kind: "VolumeAttachment", resource: "volumeattachments", namespaced: false },
  {
    hasStatus: true,
    columns: [
      nameColumn,
      column("Attacher", "What attaches the volume."),
      column("PV", "The volume."),
      column("Node", "The node it is attached to."),
      column("Attached", "Whether it is.", { type: "boolean" }),
      ageColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      return [
        object.metadata.name,
        spec["attacher"] ?? "",
        spec["source"]?.persistentVolumeName ?? "",
        spec["nodeName"] ?? "",
        object["status"]?.attached ?? false,
        age(object, now),
      ];
    },
  },
);

export const csiDriver: ResourceDefinition = define(
  { group: "storage.k8s.io", kind: "CSIDriver", resource: "csidrivers", namespaced: false },
  {
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.attachRequired ??= true;
      spec.podInfoOnMount ??= false;
      spec.storageCapacity ??= false;
      spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
      spec.volumeLifecycleModes ??= ["Persistent"];
      spec.requiresRepublish ??= false;
      spec.seLinuxMount ??= false;
    },
    columns: [
      nameColumn,
      column("AttachRequired", "Whether volumes must be attached first.", { type: "boolean" }),
      column("PodInfoOnMount", "Whether mounting needs to know the pod.", { type: "boolean" }),
      column("StorageCapacity", "Whether it tells its capacity.", { type: "boolean" }),
      column("TokenRequests", "Audiences of tokens it needs."),
      column("RequiresRepublish", "Whether volumes are mounted again and again.", { type: "boolean" }),
      column("Modes", "Lifecycles of volumes it supports."),
      ageColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const tokens: Fields[] = spec["tokenRequests"] ?? [];
      return [
        object.metadata.name,
        spec["attachRequired"] ?? true,
        spec["podInfoOnMount"] ?? false,
        spec["storageCapacity"] ?? false,
        tokens.length === 0 ? "<unset>" : tokens.map(({ audience }) => audience).join(","),
        spec["requiresRepublish"] ?? false,
        (spec["volumeLifecycleModes"] ?? []).join(",") || "<none>",
        age(object, now),
      ];
    },
  },
);

export const csiNode: ResourceDefinition = define(
  { group: "storage.k8s.io", kind: "CSINode", resource: "csinodes", namespaced: false },
  {
    columns: [
      nameColumn,
      column("Drivers", "Number of drivers on the node.", { type: "integer" }),
      ageColumn,
    ],
    row: (object, now) => [object.metadata.name, (object["spec"]?.drivers ?? []).length, age(object, now)],
  },
);

export const csiStorageCapacity: ResourceDefinition = define(
  {
    group: "storage.k8s.io",
    kind: "CSIStorageCapacity",
    resource: "csistoragecapacities",
  },
  {
    columns: [
      nameColumn,
      column("StorageClassName", "The class whose capacity this is."),
      column("Capacity", "What is left."),
    ],
    row: (object) => [
      object.metadata.name,
      object["storageClassName"] ?? "",
      object["capacity"] ?? "<unset>",
    ],
  },
);
