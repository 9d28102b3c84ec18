/**
 * Volumes that outlive a service: Kubernetes keeps the claims of a StatefulSet that is removed. Those that kws was told to keep
 * carry its labels, so that it is known later whose they were.
 */
import type { KubeClient } from "@kws/kube/client";
import { persistentVolumeClaims } from "@kws/kube/resources";
import { selects } from "@kws/kube/selector";
import { fieldManager, serviceLabel, stackLabel, workspaceLabel } from "../services/labels.ts";
import { type NamespaceObjects, workloadsOf } from "../services/workloads.ts";

export interface Claim {
  service: string;
  /** The name of the PersistentVolumeClaim. */
  claim: string;
}

export interface ClaimPlace extends Claim {
  stack: string;
  namespace: string;
  workspace: string;
}

/** The claims of the services' StatefulSets, and those that were kept of them before. */
export async function claimsOf(
  client: KubeClient,
  place: {
    stack: string;
    namespace: string;
    services: string[];
    seen: NamespaceObjects;
    signal: AbortSignal;
  },
): Promise<Claim[]> {
  const { stack, namespace, services, seen, signal } = place;
  const sets = services.flatMap((service) =>
    workloadsOf(seen, service)
      .filter(({ kind }) => kind === "StatefulSet")
      .map(({ object }) => ({ service, object })),
  );
  const { items } = await client.list(persistentVolumeClaims, namespace, { signal });
  return items.flatMap(({ metadata: { name, labels = {} } }) => {
    // The StatefulSet controller labels its claims with the set's selector and names them <template>-<set>-<ordinal>.
    const owner = sets.find(
      ({ object }) =>
        selects(object["spec"]?.selector, labels) &&
        new RegExp(`-${object.metadata.name.replaceAll(".", "\\.")}-\\d+$`).test(name),
    );
    const kept = labels[stackLabel] === stack ? labels[serviceLabel] : undefined;
    const service = owner?.service ?? services.find((one) => one === kept);
    return service === undefined ? [] : [{ service, claim: name }];
  });
}

/** Those that were kept of any stack. */
export async function keptClaims(client: KubeClient, signal: AbortSignal): Promise<ClaimPlace[]> {
  const labelSelector = `${stackLabel},${serviceLabel}`;
  const { items } = await client.list(persistentVolumeClaims, undefined, { labelSelector, signal });
  return items.map(({ metadata: { name, namespace = "", labels = {} } }) => ({
    service: labels[serviceLabel] ?? "",
    stack: labels[stackLabel] ?? "",
    namespace,
    workspace: labels[workspaceLabel] ?? "",
    claim: name,
  }));
}

export async function keepClaim(client: KubeClient, place: ClaimPlace): Promise<void> {
  const { service, stack, claim, namespace, workspace } = place;
  const labels = { [serviceLabel]: service, [stackLabel]: stack, [workspaceLabel]: workspace };
  const options = { fieldManager };
  await client.patch(persistentVolumeClaims, claim, namespace, "merge", { metadata: { labels } }, options);
}

export async function removeClaim(
  client: KubeClient,
  { claim, namespace }: Pick<ClaimPlace, "claim" | "namespace">,
): Promise<void> {
  await client.delete(persistentVolumeClaims, claim, namespace);
}
