/** Which resources the API server serves now, CustomResourceDefinitions included, each in its preferred version. */
import type { KubeClient, Resource } from "@kws/kube/client";
import { parseApiVersion } from "@kws/kube/object";
import { ApiError } from "@kws/kube/status";

export interface DiscoveredResource extends Resource {
  kind: string;
  verbs: string[];
}

interface ResourceList {
  resources?: { name: string; kind: string; namespaced: boolean; verbs?: string[] }[];
}

/** Throws when any group fails, since acting on half a picture could miss objects. */
export async function discover(client: KubeClient, signal?: AbortSignal): Promise<DiscoveredResource[]> {
  const groups = await client.request({ method: "GET", path: "/apis", signal });
  const versions = ((groups["groups"] ?? []) as { preferredVersion: { groupVersion: string } }[]).map(
    (group) => group.preferredVersion.groupVersion,
  );
  const lists = await Promise.all(
    ["v1", ...versions].map((apiVersion) => resourcesOf(client, apiVersion, signal)),
  );
  return lists.flat();
}

async function resourcesOf(
  client: KubeClient,
  apiVersion: string,
  signal: AbortSignal | undefined,
): Promise<DiscoveredResource[]> {
  const path = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  try {
    const list = (await client.request({ method: "GET", path, signal })) as unknown as ResourceList;
    return (list.resources ?? [])
      .filter(({ name }) => !name.includes("/"))
      .map(({ name, kind, namespaced, verbs = [] }) => {
        const { group, version } = parseApiVersion(apiVersion);
        return { group, version, resource: name, kind, namespaced, verbs };
      });
  } catch (error) {
    // A group that went away between the two requests.
    if (error instanceof ApiError && error.code === 404) return [];
    throw error;
  }
}
