/** Which subresources a resource has, as discovery tells clients; what they do stands in files of their own. */
import type { ResourceDefinition } from "./resources/resource.ts";

export interface Subresource {
  name: string;
  kind: string;
  verbs: string[];
  /** Where the kind is of another group than the resource. */
  group?: string;
  version?: string;
}

const write = ["get", "patch", "update"];

const ofCore: Record<string, Subresource[]> = {
  pods: [
    { name: "attach", kind: "PodAttachOptions", verbs: ["create", "get"] },
    { name: "binding", kind: "Binding", verbs: ["create"] },
    { name: "ephemeralcontainers", kind: "Pod", verbs: write },
    { name: "eviction", kind: "Eviction", verbs: ["create"], group: "policy", version: "v1" },
    { name: "exec", kind: "PodExecOptions", verbs: ["create", "get"] },
    { name: "log", kind: "Pod", verbs: ["get"] },
    { name: "portforward", kind: "PodPortForwardOptions", verbs: ["create", "get"] },
    {
      name: "proxy",
      kind: "PodProxyOptions",
      verbs: ["create", "delete", "get", "patch", "update"],
    },
    { name: "resize", kind: "Pod", verbs: write },
  ],
  services: [
    {
      name: "proxy",
      kind: "ServiceProxyOptions",
      verbs: ["create", "delete", "get", "patch", "update"],
    },
  ],
  namespaces: [{ name: "finalize", kind: "Namespace", verbs: ["update"] }],
  serviceaccounts: [
    { name: "token", kind: "TokenRequest", verbs: ["create"], group: "authentication.k8s.io", version: "v1" },
  ],
};

export function subresourcesOf(definition: ResourceDefinition): Subresource[] {
  const { group, resource, kind, hasStatus, scale } = definition;
  return [
    ...(group === "certificates.k8s.io" && resource === "certificatesigningrequests"
      ? [{ name: "approval", kind, verbs: write }]
      : []),
    ...(group === "" ? (ofCore[resource] ?? []) : []),
    ...(scale === undefined
      ? []
      : [{ name: "scale", kind: "Scale", verbs: write, group: "autoscaling", version: "v1" }]),
    ...(hasStatus ? [{ name: "status", kind, verbs: write }] : []),
  ];
}

export function hasSubresource(definition: ResourceDefinition, name: string): boolean {
  return subresourcesOf(definition).some((one) => one.name === name);
}
