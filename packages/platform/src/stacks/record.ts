/**
 * Which services a stack is to have: a ConfigMap in its namespace, written before the first of them is installed. So a stack
 * whose start ended half way is known to lack something, and one of which nothing was installed is known at all.
 */
import type { KubeClient } from "@kws/kube/client";
import { configMaps } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { fieldManager, managedByLabel, stackLabel, workspaceLabel } from "../services/labels.ts";

export interface StackRecord {
  stack: string;
  namespace: string;
  workspace: string;
  services: string[];
  /** RFC 3339. */
  createdAt: string;
}

/** One stack's, or all. */
export interface RecordFilter {
  stack?: string;
  signal?: AbortSignal;
}

export interface NewRecord extends Pick<StackRecord, "stack" | "namespace" | "workspace" | "services"> {
  /** They are all of the stack's; else they come to those that are wanted already. */
  whole: boolean;
  signal: AbortSignal;
}

export async function recordStack(client: KubeClient, record: NewRecord): Promise<void> {
  const { stack, namespace, workspace, signal } = record;
  const name = nameOf(stack);
  const found = await client.find(configMaps, name, namespace);
  const before = record.whole ? [] : servicesIn(found?.["data"]);
  const services = [...new Set([...before, ...record.services])].toSorted().join("\n");
  const labels = { [managedByLabel]: fieldManager, [stackLabel]: stack, [workspaceLabel]: workspace };
  const content = { metadata: { labels }, data: { services } };
  if (found !== undefined) {
    const labelled = Object.entries(labels).every(([key, value]) => found.metadata.labels?.[key] === value);
    if (labelled && servicesIn(found["data"]).join("\n") === services) return;
    await client.patch(configMaps, name, namespace, "merge", content, { fieldManager, signal });
    return;
  }
  const object = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, labels },
    data: { services },
  };
  await client.create(configMaps, object, { fieldManager, signal });
}

export async function listRecords(client: KubeClient, filter: RecordFilter = {}): Promise<StackRecord[]> {
  const stack = filter.stack === undefined ? stackLabel : `${stackLabel}=${filter.stack}`;
  const list = await client.list(configMaps, undefined, {
    labelSelector: `${managedByLabel}=${fieldManager},${stack}`,
    ...(filter.signal === undefined ? {} : { signal: filter.signal }),
  });
  return list.items
    .filter(({ metadata }) => metadata.name === nameOf(metadata.labels?.[stackLabel] ?? ""))
    .map(({ metadata, data }) => ({
      stack: metadata.labels?.[stackLabel] ?? "",
      namespace: metadata.namespace ?? "",
      workspace: metadata.labels?.[workspaceLabel] ?? "",
      services: servicesIn(data),
      createdAt: metadata.creationTimestamp ?? "",
    }));
}

/** The services are no longer wanted. */
export async function dropFromRecord(
  client: KubeClient,
  { stack, namespace, services, signal }: Pick<NewRecord, "stack" | "namespace" | "services" | "signal">,
): Promise<void> {
  const found = await client.find(configMaps, nameOf(stack), namespace);
  if (found === undefined) return;
  const left = servicesIn(found["data"]).filter((name) => !services.includes(name));
  const content = { data: { services: left.join("\n") } };
  await client.patch(configMaps, nameOf(stack), namespace, "merge", content, { fieldManager, signal });
}

export async function forgetStack(client: KubeClient, stack: string, namespace: string): Promise<void> {
  try {
    await client.delete(configMaps, nameOf(stack), namespace);
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}

function servicesIn(data: unknown): string[] {
  const text = (data as { services?: string } | undefined)?.services ?? "";
  return text.split("\n").filter((name) => name !== "");
}

function nameOf(stack: string): string {
  return `kws-stack-${stack}`;
}
