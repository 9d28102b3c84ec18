/** The groups and versions that are served, in upstream's order of preference, and which one is stored. */
import { formatApiVersion } from "@kws/kube/object";

export interface ApiGroup {
  group: string;
  /** Served versions, the preferred one first; it is also the one that is stored. */
  versions: string[];
}

/** Order as in a real server's discovery: kubectl resolves ambiguous names by it. */
export const apiGroups: readonly ApiGroup[] = [
  { group: "", versions: ["v1"] },
  { group: "apiregistration.k8s.io", versions: ["v1"] },
  { group: "apps", versions: ["v1"] },
  { group: "events.k8s.io", versions: ["v1"] },
  { group: "authentication.k8s.io", versions: ["v1"] },
  { group: "authorization.k8s.io", versions: ["v1"] },
  { group: "autoscaling", versions: ["v2", "v1"] },
  { group: "batch", versions: ["v1"] },
  { group: "certificates.k8s.io", versions: ["v1"] },
  { group: "networking.k8s.io", versions: ["v1"] },
  { group: "policy", versions: ["v1"] },
  { group: "rbac.authorization.k8s.io", versions: ["v1"] },
  { group: "storage.k8s.io", versions: ["v1"] },
  { group: "admissionregistration.k8s.io", versions: ["v1"] },
  { group: "apiextensions.k8s.io", versions: ["v1"] },
  { group: "scheduling.k8s.io", versions: ["v1"] },
  { group: "coordination.k8s.io", versions: ["v1"] },
  { group: "node.k8s.io", versions: ["v1"] },
  { group: "discovery.k8s.io", versions: ["v1"] },
  { group: "flowcontrol.apiserver.k8s.io", versions: ["v1"] },
  { group: "metrics.k8s.io", versions: ["v1beta1"] },
];

/** Every `group/version`, preferred ones first within a group. */
export const apiVersions: readonly string[] = apiGroups.flatMap(({ group, versions }) =>
  versions.map((version) => formatApiVersion(group, version)),
);
