/** Scaling a workload by hand, and what will set it back: an autoscaler at once, and the chart with its next install. */
import { UserError } from "@kws/base/errors";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { deployments, statefulSets } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { parseAllDocuments } from "yaml";
import { fieldManager } from "./labels.ts";
import type { Release } from "./releases.ts";
import { readRevision } from "./revision.ts";
import { readNamespace, type Workload, workloadsOf } from "./workloads.ts";

const scalable: Record<string, Resource> = { Deployment: deployments, StatefulSet: statefulSets };
const autoscalers: Resource = {
  group: "autoscaling",
  version: "v2",
  resource: "horizontalpodautoscalers",
  namespaced: true,
};

export interface Scaled {
  /** `Deployment/orders`. */
  workload: string;
  from: number;
  to: number;
  /** Who will undo it, in sentences. */
  warnings: string[];
}

/** `workload` is a name, needed where the service has several that can be scaled. */
export async function scaleService(
  client: KubeClient,
  release: Release,
  { replicas, workload }: { replicas: number; workload?: string },
): Promise<Scaled> {
  const { namespace, service } = release;
  const objects = await readNamespace(client, namespace);
  const { kind, name, wanted } = chooseWorkload(workloadsOf(objects, service), service, workload);
  const resource = scalable[kind];
  if (resource === undefined) throw new Error(`${kind} cannot be scaled`);
  const body = { spec: { replicas } };
  await client.patch(resource, name, namespace, "merge", body, { subresource: "scale", fieldManager });
  await disown(client, resource, name, namespace);
  const warnings = [
    await autoscalerWarning(client, namespace, { kind, name }),
    await chartWarning(client, release, { kind, name, replicas }),
  ];
  return {
    workload: `${kind}/${name}`,
    from: wanted,
    to: replicas,
    warnings: warnings.filter((warning) => warning !== undefined),
  };
}

function chooseWorkload(all: Workload[], service: string, name: string | undefined): Workload {
  const known = all.filter(({ kind }) => scalable[kind] !== undefined);
  const found = name === undefined ? known : known.filter((one) => one.name === name);
  const [only, ...more] = found;
  if (only !== undefined && more.length === 0) return only;
  const names = known.map((one) => one.name).join(", ");
  if (only !== undefined) {
    throw new UserError(`${service} has several workloads that can be scaled`, {
      code: "usage",
      fix: `Name one with --workload: ${names}.`,
    });
  }
  throw new UserError(
    name === undefined
      ? `${service} has nothing that can be scaled`
      : `${service} has no workload "${name}" to scale`,
    {
      code: "not-found",
      fix: names === "" ? "Deployments and StatefulSets can be scaled." : `Use one of: ${names}.`,
    },
  );
}

/**
 * Whoever owns a field conflicts with the next `helm upgrade` that sets it otherwise
 * (https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts): the number is given back to the chart.
 */
async function disown(
  client: KubeClient,
  resource: Resource,
  name: string,
  namespace: string,
): Promise<void> {
  for (;;) {
    const { metadata } = await client.get(resource, name, namespace);
    const fields = (metadata["managedFields"] ?? []) as { manager?: string; subresource?: string }[];
    const managedFields = fields.filter((one) => one.manager !== fieldManager || one.subresource !== "scale");
    if (managedFields.length === fields.length) return;
    const { resourceVersion } = metadata;
    const body = { metadata: { resourceVersion, managedFields } };
    try {
      await client.patch(resource, name, namespace, "merge", body, { fieldManager });
      return;
    } catch (error) {
      // The controller wrote its status meanwhile.
      if (!isApiError(error, "Conflict")) throw error;
    }
  }
}

async function autoscalerWarning(
  client: KubeClient,
  namespace: string,
  { kind, name }: { kind: string; name: string },
): Promise<string | undefined> {
  const { items } = await client.list(autoscalers, namespace);
  const own = items.find(({ spec }) => {
    const target = (spec as { scaleTargetRef?: { kind?: string; name?: string } }).scaleTargetRef;
    return target?.kind === kind && target.name === name;
  });
  if (own === undefined) return undefined;
  const { minReplicas = 1, maxReplicas } = own["spec"] as { minReplicas?: number; maxReplicas?: number };
  return (
    `the HorizontalPodAutoscaler ${own.metadata.name} decides how many there are, between ${minReplicas} and ` +
    `${maxReplicas}: change its bounds in the chart's values instead`
  );
}

async function chartWarning(
  client: KubeClient,
  release: Release,
  { kind, name, replicas }: { kind: string; name: string; replicas: number },
): Promise<string | undefined> {
  const revision = await readRevision(client, release);
  const documents = parseAllDocuments(revision?.manifest ?? "");
  const objects = (Array.isArray(documents) ? documents : []).map(
    (document) => document.toJS() as KubeObject | null,
  );
  const own = objects.find((one) => one?.kind === kind && one.metadata.name === name);
  const said = own?.["spec"]?.replicas as number | undefined;
  if (said === undefined || said === replicas) return undefined;
  return `the next install of the chart makes it ${said} again: put the number into the profile's values.yaml to keep it`;
}
