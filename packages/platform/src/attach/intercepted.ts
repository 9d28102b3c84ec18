/** Who intercepts a service: its Service says it, and a Lease whether somebody is still there. */
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases } from "@kws/kube/resources";
import { describeHolder, heldSince, isHeld } from "../services/lease.ts";
import { kubeServicesOf } from "./backends.ts";
import { namesOf } from "./objects.ts";
import { type InterceptMark, readInterceptMark } from "./take.ts";

export interface Intercepted extends InterceptMark {
  namespace: string;
  /** The Kubernetes Service. */
  object: KubeObject;
  /** Whether a session is there; one that was killed leaves the Service to be given back. */
  alive: boolean;
}

/** Undefined where nobody does. */
export async function findIntercepted(
  client: KubeClient,
  { service, namespace }: { service: string; namespace: string },
  { host, now, signal }: { host: string; now: number; signal: AbortSignal },
): Promise<Intercepted | undefined> {
  for (const object of await kubeServicesOf(client, service, namespace, signal)) {
    const mark = readInterceptMark(object);
    if (mark === undefined) continue;
    const lease = await client.find(leases, namesOf(service, namespace).name, namespace);
    const alive = lease !== undefined && isHeld(lease, host, now);
    const { by, since } = alive ? { by: describeHolder(lease), since: heldSince(lease) } : mark;
    return { service, namespace, by, since, object, alive };
  }
  return undefined;
}

/** For people: who has its requests. */
export function describeIntercepted({ service, by, since, alive }: Intercepted): string {
  return alive
    ? `${service} is intercepted: ${by} gets its requests since ${since}`
    : `${service} is still intercepted: ${by}, who began it at ${since}, left without giving it back`;
}
