/** Local stand-ins until the resources part lands; never in the final state. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import type { ResourceDefinition } from "./resource.ts";

const make = (group: string, version: string, kind: string, resource: string, namespaced: boolean, hasStatus: boolean): ResourceDefinition => ({
  group, version, kind, resource, singular: kind.toLowerCase(), shortNames: [], categories: [], namespaced, hasStatus,
  columns: [
    { name: "Name", type: "string", format: "name", description: "Name", priority: 0 },
    { name: "Age", type: "string", description: "Age", priority: 0 },
  ],
  row: (object) => [object.metadata.name, "1s"],
});
export const builtinResources: readonly ResourceDefinition[] = [
  make("", "v1", "Namespace", "namespaces", false, true),
  make("", "v1", "Node", "nodes", false, true),
  { ...make("", "v1", "Pod", "pods", true, true), selectableFields: { "spec.nodeName": (o) => o.spec?.nodeName ?? "", "status.phase": (o) => o.status?.phase ?? "" } },
  make("", "v1", "Service", "services", true, true),
  make("", "v1", "ConfigMap", "configmaps", true, false),
  make("", "v1", "Secret", "secrets", true, false),
  make("", "v1", "ServiceAccount", "serviceaccounts", true, false),
  make("", "v1", "Event", "events", true, false),
  { ...make("apps", "v1", "Deployment", "deployments", true, true), scale: { specReplicas: ".spec.replicas", statusReplicas: ".status.replicas", labelSelector: ".spec.selector" } },
  make("rbac.authorization.k8s.io", "v1", "Role", "roles", true, false),
  make("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", true, false),
  make("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false, false),
  make("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false, false),
  make("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false, true),
];
export const fromCustomResourceDefinition = (_crd: KubeObject): ResourceDefinition[] => [];
export const validateMetadata = (_o: KubeObject, _d: ResourceDefinition): StatusCause[] => [];
export const admit = (_c: {
  operation: "CREATE" | "UPDATE" | "DELETE"; definition: ResourceDefinition; object: KubeObject; old?: KubeObject; subresource?: string; user: { name: string; groups: string[] };
  get(r: { group: string; resource: string }, name: string, namespace?: string): KubeObject | undefined;
  list(r: { group: string; resource: string }, namespace?: string): KubeObject[];
}): void | Promise<void> => {};
