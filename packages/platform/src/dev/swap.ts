/**
 * Replacing a service by its dev container, and giving it back. Both are one write to the workload: its controller does the
 * rest, whatever becomes of this process. What the workload was is kept on it in the same write.
 *
 * The workload itself is changed, and no copy made beside it: there is no moment with none of the two or with both on one
 * volume, names and claims of a StatefulSet stay, and removing the stack removes everything. Helm's next apply of other content
 * is refused as a conflict, since the fields belong to another manager while the service is held; so that they belong to
 * Helm again afterwards, giving back ends with restoring `managedFields`.
 */
import { UserError } from "@kws/base/errors";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject, ManagedFieldsEntry } from "@kws/kube/object";
import { deployments, horizontalPodAutoscalers, leases, pods, statefulSets } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { devKey, type DevMark, leaseName, originalAnnotation } from "../services/held.ts";
import type { PodTemplate } from "./container.ts";

/** Of the fields that are not Helm's while a service is held. */
export const devManager = "kws-dev";

export interface HeldWorkload {
  kind: "Deployment" | "StatefulSet";
  name: string;
  namespace: string;
}

const resources: Record<HeldWorkload["kind"], Resource> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
};

/** What an object was: the fields of its spec that are replaced, and whose they were. */
interface Original {
  spec: Record<string, unknown>;
  managedFields: ManagedFieldsEntry[];
}

/** Those of a workload, and of what scales it. */
const replacedFields = ["replicas", "template", "persistentVolumeClaimRetentionPolicy"];
const scaledFields = ["minReplicas", "maxReplicas"];

/**
 * One pod with the dev container, made from the template that the service has when it is not held: also where the workload is
 * held already, after a session that was killed or for another image. True where it was held.
 */
export async function swapIn(
  client: KubeClient,
  workload: HeldWorkload,
  mark: DevMark,
  devTemplate: (original: PodTemplate) => PodTemplate,
): Promise<boolean> {
  let held = false;
  await change(client, resources[workload.kind], workload, (object) => {
    const before = readOriginal(object);
    held = before !== undefined;
    const original = before ?? originalOf(object, replacedFields);
    const { spec } = object;
    return {
      ...object,
      metadata: {
        ...object.metadata,
        annotations: {
          ...object.metadata.annotations,
          [devKey]: JSON.stringify(mark),
          [originalAnnotation]: JSON.stringify(original),
        },
      },
      spec: {
        ...spec,
        replicas: 1,
        template: devTemplate(original.spec["template"] as PodTemplate),
        // Claims of the other replicas would go with them.
        ...(spec?.persistentVolumeClaimRetentionPolicy === undefined
          ? {}
          : {
              persistentVolumeClaimRetentionPolicy: {
                ...spec.persistentVolumeClaimRetentionPolicy,
                whenScaled: "Retain",
              },
            }),
      },
    };
  });
  await pinAutoscalers(client, workload);
  return held;
}

/** More replicas would be more dev containers. */
async function pinAutoscalers(client: KubeClient, workload: HeldWorkload): Promise<void> {
  for (const { metadata } of await autoscalersOf(client, workload)) {
    await change(client, horizontalPodAutoscalers, metadata, (object) => {
      if (readOriginal(object) !== undefined) return undefined;
      const original = JSON.stringify(originalOf(object, scaledFields));
      const annotations = { ...object.metadata.annotations, [originalAnnotation]: original };
      const spec = { ...object["spec"], minReplicas: 1, maxReplicas: 1 };
      return { ...object, metadata: { ...object.metadata, annotations }, spec };
    });
  }
}

/** Empty where there is no right to look at them. */
async function autoscalersOf(
  client: KubeClient,
  { kind, name, namespace }: HeldWorkload,
): Promise<KubeObject[]> {
  try {
    const { items } = await client.list(horizontalPodAutoscalers, namespace);
    return items.filter(
      ({ spec }) => spec?.scaleTargetRef?.kind === kind && spec.scaleTargetRef.name === name,
    );
  } catch (error) {
    if (isApiError(error, "Forbidden", "NotFound")) return [];
    throw error;
  }
}

/**
 * Makes the workload what it was; false where it was not held. Each step may be the last one that this process does: the mark
 * goes with the last, and until then all of it can be done again.
 */
export async function giveBack(
  client: KubeClient,
  workload: HeldWorkload,
  service: string,
): Promise<boolean> {
  const resource = resources[workload.kind];
  // Before the workload: one that still says "at most one" would take away the replicas that come back.
  const autoscalers = await autoscalersOf(client, workload);
  for (const { metadata } of autoscalers) await change(client, horizontalPodAutoscalers, metadata, restore);
  const restored = await change(client, resource, workload, restore);
  // A StatefulSet waits for ever for a broken pod to become ready before it replaces it.
  if (restored && workload.kind === "StatefulSet") await removeDevPods(client, workload.namespace, service);
  for (const { metadata } of autoscalers) await change(client, horizontalPodAutoscalers, metadata, release);
  if (restored) await change(client, resource, workload, release);
  await removeLease(client, workload.namespace, service);
  return restored;
}

/** With its spec as it was; undefined where nothing was replaced. */
function restore(object: KubeObject): KubeObject | undefined {
  const original = readOriginal(object);
  return original === undefined ? undefined : { ...object, spec: { ...object["spec"], ...original.spec } };
}

/** Without what was kept on it, and with the owners that its fields had. */
function release(object: KubeObject): KubeObject | undefined {
  const original = readOriginal(object);
  if (original === undefined) return undefined;
  const {
    [devKey]: _mark,
    [originalAnnotation]: _original,
    ...annotations
  } = object.metadata.annotations ?? {};
  const managedFields = withOwners(object.metadata.managedFields ?? [], original.managedFields);
  return { ...object, metadata: { ...object.metadata, annotations, managedFields } };
}

function originalOf({ metadata, spec }: KubeObject, fields: string[]): Original {
  const entries = Object.entries((spec ?? {}) as Record<string, unknown>);
  return {
    spec: Object.fromEntries(entries.filter(([key]) => fields.includes(key))),
    managedFields: (metadata.managedFields ?? []).filter(({ subresource }) => subresource === undefined),
  };
}

/** The template that a workload has when it is not held. */
export function originalTemplate(object: KubeObject): PodTemplate {
  return (readOriginal(object)?.spec["template"] ?? object["spec"]?.template) as PodTemplate;
}

function readOriginal({ metadata }: KubeObject): Original | undefined {
  const text = metadata.annotations?.[originalAnnotation];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Original;
  } catch (error) {
    throw new UserError(`the annotation ${originalAnnotation} of ${metadata.name} cannot be read`, {
      fix: `Remove the workload ${metadata.name} and install its service again.`,
      cause: error,
    });
  }
}

/** The owners that there were before, and those of the fields that nobody held then, such as a controller's. */
function withOwners(now: ManagedFieldsEntry[], before: ManagedFieldsEntry[]): ManagedFieldsEntry[] {
  const same = (a: ManagedFieldsEntry, b: ManagedFieldsEntry) =>
    a.manager === b.manager && a.operation === b.operation && a.subresource === b.subresource;
  const others = now.filter(
    (entry) => entry.manager !== devManager && !before.some((candidate) => same(candidate, entry)),
  );
  return [...before, ...others];
}

async function removeDevPods(client: KubeClient, namespace: string, service: string): Promise<void> {
  const { items } = await client.list(pods, namespace, { labelSelector: `${devKey}=${service}` });
  for (const { metadata } of items) await removed(client.delete(pods, metadata.name, namespace));
}

async function removeLease(client: KubeClient, namespace: string, service: string): Promise<void> {
  await removed(client.delete(leases, leaseName(service), namespace));
}

async function removed(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}

const attempts = 10;

/** One write of what `edit` makes of the present object; false where it makes nothing, or there is no object. */
async function change(
  client: KubeClient,
  resource: Resource,
  { name, namespace }: { name: string; namespace?: string },
  edit: (object: KubeObject) => KubeObject | undefined,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const found = await client.find(resource, name, namespace);
    const next = found === undefined ? undefined : edit(found);
    if (next === undefined) return false;
    try {
      await client.update(resource, next, { fieldManager: devManager });
      return true;
    } catch (error) {
      // Its controller writes the status at any time.
      if (!isApiError(error, "Conflict") || attempt === attempts) throw error;
    }
  }
}
