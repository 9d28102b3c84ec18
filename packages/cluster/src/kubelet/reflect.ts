/** A list and a watch that never ends: calls back with every object once and then with every change. */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient, Resource } from "@kws/kube/client";
import { keyOf, type KubeObject } from "@kws/kube/object";
import { isApiError } from "@kws/kube/status";

export interface ReflectOptions<T extends KubeObject> {
  client: KubeClient;
  resource: Resource;
  namespace?: string;
  fieldSelector?: string;
  labelSelector?: string;
  logger: Logger;
  signal: AbortSignal;
  /** An object that is new, has changed, or — `deleted` — is no more. */
  onChange(object: T, deleted: boolean): void;
}

/** Resolves when the first list has been delivered; goes on until the signal aborts. */
export function reflect<T extends KubeObject = KubeObject>(options: ReflectOptions<T>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  void run(options, resolve).finally(resolve);
  return promise;
}

async function run<T extends KubeObject>(options: ReflectOptions<T>, synced: () => void): Promise<void> {
  const { client, resource, namespace, fieldSelector, labelSelector, logger, signal, onChange } = options;
  const known = new Map<string, T>();
  const selectors = { fieldSelector, labelSelector, signal };
  let version: string | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (version === undefined) {
        const list = await client.list<T>(resource, namespace, selectors);
        version = list.metadata.resourceVersion;
        replace(known, list.items, onChange);
        synced();
      }
      const watch = client.watch<T>(resource, namespace, {
        ...selectors,
        resourceVersion: version,
        allowWatchBookmarks: true,
      });
      for await (const { type, object } of watch) {
        failures = 0;
        version = object.metadata.resourceVersion ?? version;
        if (type === "BOOKMARK") continue;
        if (type === "DELETED") known.delete(keyOf(object));
        else known.set(keyOf(object), object);
        onChange(object, type === "DELETED");
      }
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      if (isApiError(error, "Gone", "Expired")) version = undefined;
      else logger.warn("watch failed", { resource: resource.resource, error: messageOf(error) });
    }
    if (failures > 0 && !(await pause(Math.min(50 * 2 ** failures, 5000), signal))) return;
  }
}

function replace<T extends KubeObject>(
  known: Map<string, T>,
  items: T[],
  onChange: (object: T, deleted: boolean) => void,
): void {
  const gone = new Map(known);
  for (const item of items) {
    const key = keyOf(item);
    const old = gone.get(key);
    gone.delete(key);
    known.set(key, item);
    if (old !== undefined && old.metadata.uid !== item.metadata.uid) onChange(old, true);
    if (old?.metadata.resourceVersion !== item.metadata.resourceVersion) onChange(item, false);
  }
  for (const [key, object] of gone) {
    known.delete(key);
    onChange(object, true);
  }
}

/** False when the signal aborted meanwhile. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(milliseconds, undefined, { signal, ref: false });
    return true;
  } catch {
    return false;
  }
}
