/** docs/reference/api.md: what the embedded cluster's API server serves, from the definitions that it serves by. */
import { kubernetesVersion } from "../../packages/cluster/src/version.ts";
import { verbsOf } from "../../packages/cluster/src/apiserver/registry.ts";
import { apiGroups, builtinResources } from "../../packages/cluster/src/apiserver/resources/index.ts";
import type { ResourceDefinition } from "../../packages/cluster/src/apiserver/resources/resource.ts";
import { subresourcesOf } from "../../packages/cluster/src/apiserver/subresources.ts";
import { table } from "./markdown.ts";

/** What a person who knows Kubernetes would look for in vain, or find without its effect. */
const missing: [what: string, instead: string][] = [
  [
    "Several nodes",
    "one node, which is this machine; scheduling, taints and spreading work, with that node to choose from",
  ],
  [
    "Traffic from pods to other networks",
    "pods reach each other, Services, the API server and, as `host.kws.internal`, TCP services of this machine; all others where the machine has slirp4netns; names outside of the cluster are resolved",
  ],
  [
    "NetworkPolicy",
    "enforced where the machine has nft; where not, an Event at the policy says so. The node reaches every pod, and with it the Ingress does",
  ],
  [
    "Metrics for a HorizontalPodAutoscaler",
    "processor time and memory of pods and containers; those of types Pods, Object and External are refused by the condition ScalingActive",
  ],
  ["`matchPolicy` of webhooks and policies", "always Exact: rules match the versions that they name"],
  [
    "Parts of the expression language (CEL)",
    "policies, match conditions and rules of custom resources are evaluated, each for a second at most instead of by cost; `format`, `semver` and comprehensions of two variables are missing",
  ],
  ["PodSecurity admission", "labels of namespaces are kept, and pods are not refused by them"],
  ["Aggregated API servers", "an APIService is kept, and requests are not passed on to it"],
  [
    "Approval of certificates",
    "a person approves; then `kubernetes.io/kube-apiserver-client`, `kube-apiserver-client-kubelet` and `kubelet-serving` are signed",
  ],
  ["API priority and fairness", "FlowSchemas are kept, and requests are not queued by them"],
  [
    "Volumes of other storage than this machine's",
    "emptyDir, configMap, secret, projected, downwardAPI, hostPath, local, and the StorageClass `standard`",
  ],
  ["Alpha and beta versions, dynamic resource allocation", "the stable versions of each group alone"],
];

export function apiReference(): string {
  const groups = apiGroups.flatMap(({ group, versions }) =>
    versions.map((version) => ({
      title: group === "" ? version : `${group}/${version}`,
      definitions: builtinResources.filter((one) => one.group === group && one.version === version),
    })),
  );
  return `${[
    "# The Kubernetes API of the embedded cluster",
    "<!-- Made by `npm run reference` from packages/cluster/src/apiserver; edits are lost. -->",
    `Kubernetes ${kubernetesVersion.replace(/\+.*/, "")}: defaults, validation, patches (JSON, merge, strategic, apply), field managers, watches with bookmarks, tables, dry runs, field and label selectors, chunked lists, protobuf and OpenAPI are served for all of these. CustomResourceDefinitions add kinds of their own with the same verbs.`,
    '"all" stands for create, delete, deletecollection, get, list, patch, update and watch.',
    ...groups.flatMap(({ title, definitions }) => [`## ${title}`, kinds(definitions)]),
    "## Besides resources",
    table(
      ["path", "what"],
      [
        ["`/api`, `/apis`, …", "discovery, plain and aggregated"],
        ["`/openapi/v2`, `/openapi/v3`", "schemas of all kinds, custom ones too"],
        ["`/version`, `/healthz`, `/livez`, `/readyz`", "version and health"],
        ["`/metrics`", "the server's own numbers"],
        ["`/metrics/ingress`", "requests that the Ingress has served, and how long they took"],
        ["`/.well-known/openid-configuration`, `/openid/v1/jwks`", "the keys of service accounts' tokens"],
      ],
    ),
    "## Deliberately missing",
    "The cluster is for one machine, for development and tests. Objects of all the kinds above are kept and validated; these have no effect, or less:",
    table(["what", "instead"], missing),
  ].join("\n\n")}\n`;
}

function kinds(definitions: ResourceDefinition[]): string {
  return table(
    ["kind", "resource", "short", "scope", "verbs", "subresources"],
    definitions.map((one) => [
      one.kind,
      one.resource,
      one.shortNames.join(", "),
      one.namespaced ? "namespace" : "cluster",
      one.verbs === undefined ? "all" : verbsOf(one).join(", "),
      subresourcesOf(one)
        .map((subresource) => `${subresource.name} (${subresource.verbs.join(", ")})`)
        .join(", "),
    ]),
  );
}
