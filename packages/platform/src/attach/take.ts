/** Taking a Service's traffic, and giving it back: writes to the Service alone, whose earlier state stands on it. */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases, secrets, services } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { InterceptNames } from "./objects.ts";
import {
  markAnnotation,
  ownersPatch,
  type PatchOperation,
  proxyLabel,
  restorePatch,
  selectorAnnotation,
} from "./proxy/restore.ts";

export const interceptManager = "kws-intercept";

export interface InterceptMark {
  service: string;
  /** `user@host`. */
  by: string;
  /** RFC 3339. */
  since: string;
}

/** What the mark of a Service says; undefined where it has none. */
export function readInterceptMark({ metadata }: KubeObject): InterceptMark | undefined {
  const text = metadata.annotations?.[markAnnotation];
  if (text === undefined) return undefined;
  try {
    const { service = metadata.name, by, since } = JSON.parse(text) as Partial<InterceptMark>;
    return { service, by: String(by), since: String(since) };
  } catch {
    // Somebody wrote into it: what counts is that it is there.
    return { service: metadata.name, by: "somebody", since: "" };
  }
}

/** The selector that a Service has when it is not intercepted. */
export function originalSelector({ metadata, spec }: KubeObject): Record<string, string> {
  const selector = (spec?.selector ?? {}) as Record<string, string>;
  if (selector[proxyLabel] === undefined) return selector;
  return JSON.parse(metadata.annotations?.[selectorAnnotation] ?? "{}") as Record<string, string>;
}

export function isTaken({ spec }: KubeObject): boolean {
  return spec?.selector?.[proxyLabel] !== undefined;
}

/** Leads the Service to the proxy; also again, where an installation led it back. */
export function takeService(client: KubeClient, object: KubeObject, mark: InterceptMark): Promise<boolean> {
  return change(client, object, (found) => [
    { op: "test", path: "/metadata/resourceVersion", value: found.metadata.resourceVersion },
    {
      op: "add",
      path: "/metadata/annotations",
      value: {
        ...found.metadata.annotations,
        [markAnnotation]: JSON.stringify(mark),
        [selectorAnnotation]: JSON.stringify(originalSelector(found)),
      },
    },
    { op: "replace", path: "/spec/selector", value: { [proxyLabel]: mark.service } },
  ]);
}

/** Leads the Service to its pods; false where it was not intercepted. */
export function giveServiceBack(client: KubeClient, object: KubeObject): Promise<boolean> {
  return change(client, object, restorePatch);
}

/** Gives the Service back and removes what was there for the intercept; false where it was not intercepted. */
export async function endIntercept(
  client: KubeClient,
  names: InterceptNames,
  object: KubeObject | undefined,
): Promise<boolean> {
  // Without its lease, a session that is still there takes nothing any more.
  await remove(client, leases, names);
  const given = object !== undefined && (await giveServiceBack(client, object));
  await remove(client, secrets, names);
  return given;
}

async function remove(
  client: KubeClient,
  resource: Resource,
  { name, namespace }: InterceptNames,
): Promise<void> {
  try {
    await client.delete(resource, name, namespace, { propagationPolicy: "Background" });
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}

const attempts = 10;

async function change(
  client: KubeClient,
  { metadata: { name, namespace } }: KubeObject,
  edit: (object: KubeObject) => PatchOperation[] | undefined,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const before = await client.find(services, name, namespace);
    const patch = before === undefined ? undefined : edit(before);
    if (before === undefined || patch === undefined) return false;
    const write = (operations: PatchOperation[]) =>
      client.patch(services, name, namespace, "json", operations, { fieldManager: interceptManager });
    let changed;
    try {
      changed = await write(patch);
    } catch (error) {
      // Somebody wrote in between: the version that was tested is not the present one.
      if (!isApiError(error, "Conflict", "Invalid") || attempt === attempts) throw error;
      continue;
    }
    try {
      await write(ownersPatch(before, changed));
    } catch (error) {
      // Whoever wrote in between has the fields now, and may have them.
      if (!isApiError(error, "Conflict", "Invalid")) throw error;
    }
    return true;
  }
}
