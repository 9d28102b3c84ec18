/** Discovery documents, plain and aggregated: which groups, versions, resources and verbs are served. */
import { createHash } from "node:crypto";
import { verbsOf, type Registry } from "./registry.ts";
import { parseAccept } from "./rendering.ts";
import { jsonResponse, type ApiRequest, type ApiResponse } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { subresourcesOf } from "./subresources.ts";

export interface ResourceEntry {
  name: string;
  singularName: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  verbs: string[];
  shortNames?: string[];
  categories?: string[];
}

/** Answers `/api`, `/api/v1`, `/apis`, `/apis/<group>` and `/apis/<group>/<version>`; undefined for other paths. */
export function discover(registry: Registry, request: ApiRequest): ApiResponse | undefined {
  const parts = request.path.split("/").filter((part) => part !== "");
  if (parts[0] === "api" && parts.length === 1) {
    if (wantsAggregated(request)) return aggregated(registry, request, (group) => group === "");
    return jsonResponse(200, {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [
        { clientCIDR: "0.0.0.0/0", serverAddress: request.headers.host ?? "127.0.0.1" },
      ],
    });
  }
  if (parts[0] === "api" && parts.length === 2) return resourceList(registry, "", parts[1] ?? "");
  if (parts[0] !== "apis") return undefined;
  if (parts.length === 1) {
    if (wantsAggregated(request)) return aggregated(registry, request, (group) => group !== "");
    return jsonResponse(200, {
      kind: "APIGroupList",
      apiVersion: "v1",
      groups: groupsOf(registry).map(groupEntry),
    });
  }
  if (parts.length === 2) {
    const found = groupsOf(registry).find(({ group }) => group === parts[1]);
    if (found === undefined) return undefined;
    return jsonResponse(200, { kind: "APIGroup", apiVersion: "v1", ...groupEntry(found) });
  }
  if (parts.length === 3) return resourceList(registry, parts[1] ?? "", parts[2] ?? "");
  return undefined;
}

interface Group {
  group: string;
  /** The preferred one first. */
  versions: string[];
}

function groupsOf(registry: Registry): Group[] {
  const versions = new Map<string, Set<string>>();
  for (const { group, version } of registry.definitions()) {
    const known = versions.get(group) ?? new Set();
    versions.set(group, known.add(version));
  }
  versions.delete("");
  return [...versions].map(([group, names]) => ({ group, versions: [...names].sort(compareVersions) }));
}

/** Stable before beta before alpha, then the higher number; as Kubernetes orders versions. */
export function compareVersions(a: string, b: string): number {
  const rank = (text: string): [number, number, number] => {
    const match = /^v(?<major>\d+)(?:(?<stage>alpha|beta)(?<minor>\d+))?$/.exec(text)?.groups;
    if (match === undefined) return [-1, 0, 0];
    const stage = match.stage === undefined ? 2 : match.stage === "beta" ? 1 : 0;
    return [stage, Number(match.major), Number(match.minor ?? 0)];
  };
  const [left, right] = [rank(a), rank(b)];
  return right[0] - left[0] || right[1] - left[1] || right[2] - left[2] || (a < b ? -1 : a > b ? 1 : 0);
}

function groupEntry({ group, versions }: Group): object {
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: entries, preferredVersion: entries[0] };
}

function resourceList(registry: Registry, group: string, version: string): ApiResponse | undefined {
  const definitions = registry.definitions().filter((one) => one.group === group && one.version === version);
  if (definitions.length === 0) return undefined;
  return jsonResponse(200, {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: definitions.flatMap(entriesOf),
  });
}

function entriesOf(definition: ResourceDefinition): ResourceEntry[] {
  const { resource, singular, namespaced, kind, shortNames, categories } = definition;
  return [
    {
      name: resource,
      singularName: singular,
      namespaced,
      kind,
      verbs: [...verbsOf(definition)].sort(),
      ...(shortNames.length === 0 ? {} : { shortNames }),
      ...(categories.length === 0 ? {} : { categories }),
    },
    ...subresourcesOf(definition).map((subresource) => ({
      name: `${resource}/${subresource.name}`,
      singularName: "",
      namespaced,
      group: subresource.group,
      version: subresource.version,
      kind: subresource.kind,
      verbs: subresource.verbs,
    })),
  ];
}

const aggregatedGroup = "apidiscovery.k8s.io";

/** The version of the aggregated format that the client prefers to the plain one. */
function wantsAggregated(request: ApiRequest): boolean {
  for (const { type, parameters } of parseAccept(request.headers.accept)) {
    if (type !== "application/json") continue;
    const as = parameters.get("as");
    if (as === undefined) return false;
    if (
      as === "APIGroupDiscoveryList" &&
      parameters.get("g") === aggregatedGroup &&
      parameters.get("v") === "v2"
    ) {
      return true;
    }
  }
  return false;
}

function aggregated(
  registry: Registry,
  request: ApiRequest,
  includes: (group: string) => boolean,
): ApiResponse {
  const groups = [{ group: "", versions: ["v1"] }, ...groupsOf(registry)].filter(({ group }) =>
    includes(group),
  );
  const items = groups.map(({ group, versions }) => ({
    metadata: group === "" ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
    versions: versions.map((version) => ({
      version,
      freshness: "Current",
      resources: registry
        .definitions()
        .filter((one) => one.group === group && one.version === version)
        .map(aggregatedEntry),
    })),
  }));
  const text = JSON.stringify({
    kind: "APIGroupDiscoveryList",
    apiVersion: `${aggregatedGroup}/v2`,
    metadata: {},
    items,
  });
  const etag = `"${createHash("sha256").update(text).digest("hex").toUpperCase()}"`;
  const headers = {
    "content-type": `application/json;g=${aggregatedGroup};v=v2;as=APIGroupDiscoveryList`,
    etag,
    vary: "Accept",
    "cache-control": "public",
  };
  if (request.headers["if-none-match"] === etag) return { status: 304, headers, body: "" };
  return { status: 200, headers, body: text };
}

function aggregatedEntry(definition: ResourceDefinition): object {
  const { group, version, kind, resource, singular, shortNames, categories, namespaced } = definition;
  const scope = namespaced ? "Namespaced" : "Cluster";
  const subresources = subresourcesOf(definition).map((one) => ({
    subresource: one.name,
    responseKind: { group: one.group ?? group, version: one.version ?? version, kind: one.kind },
    verbs: one.verbs,
  }));
  return {
    resource,
    responseKind: { group, version, kind },
    scope,
    singularResource: singular,
    verbs: [...verbsOf(definition)].sort(),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}
