/**
 * The services of a release that holds several. Helm gives all of its objects the release's name; which service one belongs to
 * stands in the path of the template that it came from, and kws writes it on the object.
 */
import type { KubeClient, Resource } from "@kws/kube/client";
import {
  daemonSets,
  deployments,
  ingresses,
  jobs,
  services as servicesResource,
  statefulSets,
} from "@kws/kube/resources";
import { parseAllDocuments } from "yaml";
import { fieldManager, releaseAnnotation, serviceLabel, stackLabel } from "../services/labels.ts";
import { listRevisions } from "../services/releases.ts";
import { readRevision } from "../services/revision.ts";
import type { StackPlace } from "./ready.ts";

/** The kinds by which services are found. */
const labelled: Record<string, Resource> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
  DaemonSet: daemonSets,
  Job: jobs,
  Service: servicesResource,
  Ingress: ingresses,
};

export interface PartObject {
  kind: string;
  name: string;
  /** The subchart. */
  service: string;
}

/** The objects of an umbrella chart's subcharts, from manifests as Helm renders them. */
export function partObjects(manifest: string): PartObject[] {
  return manifest.split(/^---\n(?=# Source: )/m).flatMap((document) => {
    const service = /^# Source: [^/\n]+\/charts\/([^/\n]+)\//.exec(document)?.[1];
    if (service === undefined) return [];
    const parsed = parseAllDocuments(document);
    return (Array.isArray(parsed) ? parsed : []).flatMap((one) => {
      const object = one.toJS() as { kind?: string; metadata?: { name?: string } } | null;
      const { kind, metadata } = object ?? {};
      return kind === undefined ? [] : [{ kind, name: metadata?.name ?? "", service }];
    });
  });
}

/** Labels what the release's newest revision has made with the services. */
export async function labelParts(
  client: KubeClient,
  { release, stack, signal }: { release: string; stack: StackPlace; signal: AbortSignal },
): Promise<void> {
  const { namespace } = stack;
  const revisions = await listRevisions(client, { namespace, release, signal });
  const deployed = revisions.find(({ status }) => status === "deployed");
  const content = deployed === undefined ? undefined : await readRevision(client, deployed);
  const parts = new Map(
    partObjects(content?.manifest ?? "").map(({ kind, name, service }) => [`${kind}/${name}`, service]),
  );
  for (const [kind, resource] of Object.entries(labelled)) {
    const { items } = await client.list(resource, namespace, { signal });
    for (const { metadata } of items) {
      const service = parts.get(`${kind}/${metadata.name}`);
      if (service === undefined || metadata.annotations?.[releaseAnnotation] !== release) continue;
      const labels = { [stackLabel]: stack.name, [serviceLabel]: service };
      if (Object.entries(labels).every(([key, value]) => metadata.labels?.[key] === value)) continue;
      await client.patch(
        resource,
        metadata.name,
        namespace,
        "merge",
        { metadata: { labels } },
        { fieldManager },
      );
    }
  }
}
