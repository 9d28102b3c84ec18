/** The built-in resources that this program itself reads or writes, as URLs name them. */
import type { Resource } from "./client.ts";

const of = (group: string, version: string, resource: string, namespaced = true): Resource => ({
  group,
  version,
  resource,
  namespaced,
});

export const namespaces = of("", "v1", "namespaces", false);
export const nodes = of("", "v1", "nodes", false);
export const persistentVolumes = of("", "v1", "persistentvolumes", false);
export const pods = of("", "v1", "pods");
export const services = of("", "v1", "services");
export const endpoints = of("", "v1", "endpoints");
export const configMaps = of("", "v1", "configmaps");
export const secrets = of("", "v1", "secrets");
export const serviceAccounts = of("", "v1", "serviceaccounts");
export const persistentVolumeClaims = of("", "v1", "persistentvolumeclaims");
export const replicationControllers = of("", "v1", "replicationcontrollers");
export const events = of("", "v1", "events");
export const resourceQuotas = of("", "v1", "resourcequotas");
export const limitRanges = of("", "v1", "limitranges");
export const deployments = of("apps", "v1", "deployments");
export const replicaSets = of("apps", "v1", "replicasets");
export const statefulSets = of("apps", "v1", "statefulsets");
export const daemonSets = of("apps", "v1", "daemonsets");
export const controllerRevisions = of("apps", "v1", "controllerrevisions");
export const jobs = of("batch", "v1", "jobs");
export const horizontalPodAutoscalers = of("autoscaling", "v2", "horizontalpodautoscalers");
export const cronJobs = of("batch", "v1", "cronjobs");
export const networkPolicies = of("networking.k8s.io", "v1", "networkpolicies");
export const ingresses = of("networking.k8s.io", "v1", "ingresses");
export const ingressClasses = of("networking.k8s.io", "v1", "ingressclasses", false);
export const endpointSlices = of("discovery.k8s.io", "v1", "endpointslices");
export const leases = of("coordination.k8s.io", "v1", "leases");
export const storageClasses = of("storage.k8s.io", "v1", "storageclasses", false);
export const podDisruptionBudgets = of("policy", "v1", "poddisruptionbudgets");
export const certificateSigningRequests = of(
  "certificates.k8s.io",
  "v1",
  "certificatesigningrequests",
  false,
);
export const priorityClasses = of("scheduling.k8s.io", "v1", "priorityclasses", false);
export const customResourceDefinitions = of("apiextensions.k8s.io", "v1", "customresourcedefinitions", false);
export const roles = of("rbac.authorization.k8s.io", "v1", "roles");
export const roleBindings = of("rbac.authorization.k8s.io", "v1", "rolebindings");
export const clusterRoles = of("rbac.authorization.k8s.io", "v1", "clusterroles", false);
export const clusterRoleBindings = of("rbac.authorization.k8s.io", "v1", "clusterrolebindings", false);
