/** API versions that Kubernetes has ceased to serve (https://kubernetes.io/docs/reference/using-api/deprecation-guide/). */

/** By `apiVersion Kind`, or by `apiVersion` alone for all of its kinds. */
const successors: Record<string, string> = {
  "extensions/v1beta1 Ingress": "networking.k8s.io/v1",
  "extensions/v1beta1 NetworkPolicy": "networking.k8s.io/v1",
  "extensions/v1beta1": "apps/v1",
  "apps/v1beta1": "apps/v1",
  "apps/v1beta2": "apps/v1",
  "networking.k8s.io/v1beta1": "networking.k8s.io/v1",
  "batch/v1beta1": "batch/v1",
  "batch/v2alpha1": "batch/v1",
  "policy/v1beta1 PodDisruptionBudget": "policy/v1",
  "autoscaling/v2beta1": "autoscaling/v2",
  "autoscaling/v2beta2": "autoscaling/v2",
  "rbac.authorization.k8s.io/v1beta1": "rbac.authorization.k8s.io/v1",
  "apiextensions.k8s.io/v1beta1": "apiextensions.k8s.io/v1",
  "admissionregistration.k8s.io/v1beta1": "admissionregistration.k8s.io/v1",
  "scheduling.k8s.io/v1beta1": "scheduling.k8s.io/v1",
  "storage.k8s.io/v1beta1": "storage.k8s.io/v1",
  "coordination.k8s.io/v1beta1": "coordination.k8s.io/v1",
  "discovery.k8s.io/v1beta1": "discovery.k8s.io/v1",
  "events.k8s.io/v1beta1": "events.k8s.io/v1",
};

/** The version that took its place; undefined for one that is served. */
export function successorOf(apiVersion: string, kind: string): string | undefined {
  return successors[`${apiVersion} ${kind}`] ?? successors[apiVersion];
}
