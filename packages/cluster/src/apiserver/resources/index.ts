/** All built-in kinds in one list, and the way from a CustomResourceDefinition to definitions of the same shape. */
import { horizontalPodAutoscaler, horizontalPodAutoscalerV1 } from "./autoscaling.ts";
import { namespace, node } from "./cluster-kinds.ts";
import { configMap, secret, serviceAccount } from "./configuration.ts";
import { controllerRevision, daemonSet } from "./daemonset.ts";
import { deployment } from "./deployment.ts";
import { endpoints, endpointSlice } from "./endpoints.ts";
import { event, newerEvent } from "./event.ts";
import { cronJob, job } from "./job.ts";
import * as machinery from "./machinery.ts";
import { nodeMetrics, podMetrics } from "./metrics.ts";
import { ingress, ingressClass, ipAddress, networkPolicy, serviceCidr } from "./networking.ts";
import { pod, podTemplate } from "./pod.ts";
import { limitRange, podDisruptionBudget, priorityClass, resourceQuota } from "./policy.ts";
import { clusterRole, clusterRoleBinding, role, roleBinding } from "./rbac.ts";
import { replicaSet, replicationController } from "./replicaset.ts";
import type { ResourceDefinition } from "./resource.ts";
import { service } from "./service.ts";
import { statefulSet } from "./statefulset.ts";
import * as storage from "./storage-kinds.ts";
import * as system from "./system-kinds.ts";
import * as virtual from "./virtual.ts";

export { admit, claim } from "../admission/index.ts";
export { fromCustomResourceDefinition } from "./custom.ts";
export { validateMetadata } from "./metadata.ts";
export { apiGroups, apiVersions } from "./versions.ts";
export { tokenRequest } from "./virtual.ts";

export const builtinResources: readonly ResourceDefinition[] = [
  virtual.binding,
  configMap,
  endpoints,
  event,
  limitRange,
  namespace,
  node,
  storage.persistentVolumeClaim,
  storage.persistentVolume,
  pod,
  podTemplate,
  replicationController,
  resourceQuota,
  secret,
  serviceAccount,
  service,
  machinery.apiService,
  controllerRevision,
  daemonSet,
  deployment,
  replicaSet,
  statefulSet,
  newerEvent,
  virtual.selfSubjectReview,
  virtual.tokenReview,
  virtual.localSubjectAccessReview,
  virtual.selfSubjectAccessReview,
  virtual.selfSubjectRulesReview,
  virtual.subjectAccessReview,
  horizontalPodAutoscaler,
  horizontalPodAutoscalerV1,
  nodeMetrics,
  podMetrics,
  cronJob,
  job,
  machinery.certificateSigningRequest,
  ingressClass,
  ingress,
  ipAddress,
  networkPolicy,
  serviceCidr,
  podDisruptionBudget,
  clusterRoleBinding,
  clusterRole,
  roleBinding,
  role,
  storage.csiDriver,
  storage.csiNode,
  storage.csiStorageCapacity,
  storage.storageClass,
  storage.volumeAttachment,
  machinery.mutatingWebhookConfiguration,
  machinery.validatingAdmissionPolicy,
  machinery.validatingAdmissionPolicyBinding,
  machinery.validatingWebhookConfiguration,
  machinery.customResourceDefinition,
  priorityClass,
  system.lease,
  system.runtimeClass,
  endpointSlice,
  system.flowSchema,
  system.priorityLevelConfiguration,
];
