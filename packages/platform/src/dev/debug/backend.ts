/** The pod whose debugger a forward leads to: also one that is not ready, since it may be held at its first line. */
import type { KubeClient } from "@kws/kube/client";
import type { PodPort } from "@kws/kube/port-forward";
import { pods } from "@kws/kube/resources";
import { devKey } from "../../services/held.ts";

/** The newest dev pod; none where there is none yet. */
export async function debugPods(
  client: KubeClient,
  { service, namespace, port }: { service: string; namespace: string; port: number },
  signal: AbortSignal,
): Promise<PodPort[]> {
  const { items } = await client.list(pods, namespace, { labelSelector: `${devKey}=${service}`, signal });
  const created = ({ metadata }: (typeof items)[number]) => metadata.creationTimestamp ?? "";
  const [newest] = items
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .toSorted((a, b) => created(b).localeCompare(created(a)));
  return newest === undefined ? [] : [{ namespace, pod: newest.metadata.name, port }];
}
