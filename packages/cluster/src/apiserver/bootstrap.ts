/** Objects that every cluster has from its first moment: namespaces, roles, and the Services of the API server and of names. */
import type { KubeObject } from "@kws/kube/object";
import { addresses } from "../network/state.ts";
import type { PolicyRule } from "./authorization.ts";
import type { ServerContext } from "./context.ts";
import { storageKey, tableOf } from "./registry.ts";
import { createObject } from "./writing.ts";

const rbac = "rbac.authorization.k8s.io/v1";
const user = { name: "system:apiserver", groups: ["system:masters"] };

/** Makes what is missing; what is there stays as it is. */
export async function bootstrap(context: ServerContext): Promise<void> {
  for (const object of bootstrapObjects()) {
    const definition = context.registry.findKind(object.apiVersion, object.kind);
    if (definition === undefined) continue;
    const { namespace, name } = object.metadata;
    const key = storageKey(definition, namespace, name);
    if (context.store.latest(tableOf(definition), key) !== undefined) continue;
    await createObject(context, definition, object, { user, dryRun: false, manager: "kube-apiserver" });
  }
}

function bootstrapObjects(): KubeObject[] {
  return [
    ...["default", "kube-system", "kube-public", "kube-node-lease"].map(namespace),
    clusterRole("cluster-admin", everything),
    aggregated("admin", "admin"),
    aggregated("edit", "edit"),
    aggregated("view", "view"),
    clusterRole("system:aggregate-to-admin", adminRules, { aggregate: "admin" }),
    clusterRole("system:aggregate-to-edit", editRules, { aggregate: "edit" }),
    clusterRole("system:aggregate-to-view", viewRules, { aggregate: "view" }),
    clusterRole("system:discovery", discoveryRules),
    clusterRole("system:basic-user", selfRules),
    clusterRole("system:public-info-viewer", publicRules),
    clusterRole("system:service-account-issuer-discovery", issuerRules),
    binding("cluster-admin", "cluster-admin", "system:masters"),
    binding("system:discovery", "system:discovery", "system:authenticated"),
    binding("system:basic-user", "system:basic-user", "system:authenticated"),
    binding(
      "system:public-info-viewer",
      "system:public-info-viewer",
      "system:authenticated",
      "system:unauthenticated",
    ),
    binding(
      "system:service-account-issuer-discovery",
      "system:service-account-issuer-discovery",
      "system:serviceaccounts",
    ),
    systemClass(
      "system-cluster-critical",
      2_000_000_000,
      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    systemClass(
      "system-node-critical",
      2_000_001_000,
      "Used for system critical pods that must not be moved from their current node.",
    ),
    ...apiService,
    ...dnsService,
    serviceRange,
  ];
}

function systemClass(name: string, value: number, description: string): KubeObject {
  return {
    apiVersion: "scheduling.k8s.io/v1",
    kind: "PriorityClass",
    metadata: { name },
    value,
    description,
  };
}

function namespace(name: string): KubeObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name }, spec: { finalizers: ["kubernetes"] } };
}

const bootstrapLabel = { "kubernetes.io/bootstrapping": "rbac-defaults" };

function clusterRole(
  name: string,
  rules: PolicyRule[],
  { aggregate }: { aggregate?: string } = {},
): KubeObject {
  const labels = {
    ...bootstrapLabel,
    ...(aggregate === undefined ? {} : { [`rbac.authorization.k8s.io/aggregate-to-${aggregate}`]: "true" }),
    // Who may edit may view, and who administers may both.
    ...(aggregate === "view" ? { "rbac.authorization.k8s.io/aggregate-to-edit": "true" } : {}),
    ...(aggregate === "view" || aggregate === "edit"
      ? { "rbac.authorization.k8s.io/aggregate-to-admin": "true" }
      : {}),
  };
  return { apiVersion: rbac, kind: "ClusterRole", metadata: { name, labels }, rules };
}

function aggregated(name: string, label: string): KubeObject {
  return {
    apiVersion: rbac,
    kind: "ClusterRole",
    metadata: { name, labels: bootstrapLabel },
    aggregationRule: {
      clusterRoleSelectors: [
        { matchLabels: { [`rbac.authorization.k8s.io/aggregate-to-${label}`]: "true" } },
      ],
    },
    rules: [],
  };
}

function binding(name: string, role: string, ...groups: string[]): KubeObject {
  return {
    apiVersion: rbac,
    kind: "ClusterRoleBinding",
    metadata: { name, labels: bootstrapLabel },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: groups.map((group) => ({ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group })),
  };
}

const read = ["get", "list", "watch"];
const write = ["create", "delete", "deletecollection", "patch", "update"];

const everything: PolicyRule[] = [
  { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
  { nonResourceURLs: ["*"], verbs: ["*"] },
];

/** Resources of everyday work, by group; Secrets are not among them, since reading them gives their rights away. */
const workloads: Record<string, string[]> = {
  "": [
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
  ],
  apps: [
    "controllerrevisions",
    "daemonsets",
    "deployments",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
  ],
  autoscaling: ["horizontalpodautoscalers"],
  batch: ["cronjobs", "jobs"],
  policy: ["poddisruptionbudgets"],
  "networking.k8s.io": ["ingresses", "networkpolicies"],
  "discovery.k8s.io": ["endpointslices"],
};

function onWorkloads(verbs: string[]): PolicyRule[] {
  return Object.entries(workloads).map(([group, resources]) => ({ apiGroups: [group], resources, verbs }));
}

const viewRules: PolicyRule[] = [
  ...onWorkloads(read),
  {
    apiGroups: [""],
    resources: [
      "events",
      "limitranges",
      "namespaces",
      "namespaces/status",
      "pods/log",
      "pods/status",
      "resourcequotas",
      "resourcequotas/status",
      "bindings",
    ],
    verbs: read,
  },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: read },
  { apiGroups: ["metrics.k8s.io"], resources: ["nodes", "pods"], verbs: ["get", "list"] },
  {
    apiGroups: ["apps"],
    resources: ["daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"],
    verbs: read,
  },
  { apiGroups: ["batch"], resources: ["cronjobs/status", "jobs/status"], verbs: read },
];

const editRules: PolicyRule[] = [
  ...onWorkloads(write),
  { apiGroups: [""], resources: ["secrets"], verbs: [...read, ...write] },
  {
    apiGroups: [""],
    resources: ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"],
    verbs: [...read, ...write],
  },
  { apiGroups: [""], resources: ["pods/eviction", "serviceaccounts/token"], verbs: ["create"] },
  { apiGroups: [""], resources: ["serviceaccounts"], verbs: ["impersonate"] },
  { apiGroups: [""], resources: ["events"], verbs: write },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: [...read, ...write] },
];

const adminRules: PolicyRule[] = [
  {
    apiGroups: ["rbac.authorization.k8s.io"],
    resources: ["rolebindings", "roles"],
    verbs: [...read, ...write],
  },
  { apiGroups: ["authorization.k8s.io"], resources: ["localsubjectaccessreviews"], verbs: ["create"] },
];

const discoveryRules: PolicyRule[] = [
  {
    nonResourceURLs: [
      "/api",
      "/api/*",
      "/apis",
      "/apis/*",
      "/healthz",
      "/livez",
      "/openapi",
      "/openapi/*",
      "/readyz",
      "/version",
      "/version/",
    ],
    verbs: ["get"],
  },
];

const publicRules: PolicyRule[] = [
  { nonResourceURLs: ["/healthz", "/livez", "/readyz", "/version", "/version/"], verbs: ["get"] },
];

const issuerRules: PolicyRule[] = [
  {
    nonResourceURLs: [
      "/.well-known/openid-configuration",
      "/.well-known/openid-configuration/",
      "/openid/v1/jwks",
      "/openid/v1/jwks/",
    ],
    verbs: ["get"],
  },
];

const selfRules: PolicyRule[] = [
  {
    apiGroups: ["authorization.k8s.io"],
    resources: ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    verbs: ["create"],
  },
  { apiGroups: ["authentication.k8s.io"], resources: ["selfsubjectreviews"], verbs: ["create"] },
];

/** A Service that the cluster's own network answers: no selector, and endpoints on the node. */
function systemService(
  metadata: KubeObject["metadata"],
  clusterIP: string,
  ports: { name: string; port: number; protocol: string; targetPort: number }[],
): KubeObject[] {
  const { name, namespace } = metadata;
  const published = ports.map(({ targetPort, ...port }) => ({ ...port, port: targetPort }));
  const mirrored = { "endpointslice.kubernetes.io/skip-mirror": "true" };
  const spec = { type: "ClusterIP", clusterIP, clusterIPs: [clusterIP], ports, sessionAffinity: "None" };
  return [
    { apiVersion: "v1", kind: "Service", metadata, spec },
    {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: { name, namespace, labels: mirrored },
      subsets: [{ addresses: [{ ip: addresses.node }], ports: published }],
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name, namespace, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: [{ addresses: [addresses.node], conditions: { ready: true } }],
      ports: published,
    },
  ];
}

const apiService = systemService(
  { name: "kubernetes", namespace: "default", labels: { component: "apiserver", provider: "kubernetes" } },
  addresses.apiServer,
  [{ name: "https", port: 443, protocol: "TCP", targetPort: 6443 }],
);

const serviceRange: KubeObject = {
  apiVersion: "networking.k8s.io/v1",
  kind: "ServiceCIDR",
  metadata: { name: "kubernetes" },
  spec: { cidrs: [addresses.serviceCidr] },
};

const dnsService = systemService(
  {
    name: "kube-dns",
    namespace: "kube-system",
    labels: {
      "k8s-app": "kube-dns",
      "kubernetes.io/cluster-service": "true",
      "kubernetes.io/name": "CoreDNS",
    },
  },
  addresses.dns,
  [
    { name: "dns", port: 53, protocol: "UDP", targetPort: 53 },
    { name: "dns-tcp", port: 53, protocol: "TCP", targetPort: 53 },
  ],
);
