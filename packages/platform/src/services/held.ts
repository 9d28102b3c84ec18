/**
 * Services whose workload runs a dev container: marked on the workload itself, with all that giving it back needs, so that any
 * kws on any machine can. A Lease beside it says whether somebody is still at it.
 */
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { leases } from "@kws/kube/resources";
import { describeHolder, heldSince, isHeld } from "./lease.ts";
import type { NamespaceObjects } from "./workloads.ts";

/** On a workload: who replaced it, and since when; on its pods, as a label: the service's name. */
export const devKey = "kws.dev/dev";
/** On a workload: what it was before, for giving it back. */
export const originalAnnotation = "kws.dev/dev-original";

export interface DevMark {
  service: string;
  /** `user@host`. */
  by: string;
  /** RFC 3339. */
  since: string;
  /** The dev container's name. */
  container: string;
}

/** A service in development mode. */
export interface Hold extends DevMark {
  namespace: string;
  kind: "Deployment" | "StatefulSet";
  /** The workload's. */
  name: string;
  /** Whether a session is at it; one that was killed left the dev container behind. */
  alive: boolean;
}

export function leaseName(service: string): string {
  return `kws-dev-${service}`;
}

/** What the mark of a workload says; undefined where it has none. */
export function readMark({ metadata }: KubeObject): DevMark | undefined {
  const text = metadata.annotations?.[devKey];
  if (text === undefined) return undefined;
  try {
    const { service = metadata.name, by, since, container } = JSON.parse(text) as Partial<DevMark>;
    return { service, by: String(by), since: String(since), container: String(container) };
  } catch {
    // Somebody wrote into it: what counts is that it is there.
    return { service: metadata.name, by: "somebody", since: "", container: "" };
  }
}

/** The services of a namespace that are in development mode. */
export async function findHolds(
  client: KubeClient,
  objects: Pick<NamespaceObjects, "deployments" | "statefulSets">,
  namespace: string,
  { host, now }: { host: string; now: number },
): Promise<Hold[]> {
  const marked = [
    ...objects.deployments.map((object) => ({ object, kind: "Deployment" as const })),
    ...objects.statefulSets.map((object) => ({ object, kind: "StatefulSet" as const })),
  ].flatMap(({ object, kind }) => {
    const mark = readMark(object);
    return mark === undefined ? [] : [{ object, kind, mark }];
  });
  return Promise.all(
    marked.map(async ({ object, kind, mark }) => {
      const lease = await client.find(leases, leaseName(mark.service), namespace);
      const alive = lease !== undefined && isHeld(lease, host, now);
      const { by, since } = alive ? { by: describeHolder(lease), since: heldSince(lease) } : mark;
      const { service, container } = mark;
      return { service, container, by, since, namespace, kind, name: object.metadata.name, alive };
    }),
  );
}

/** For people: who has it. */
export function describeHold({ service, by, since, alive }: Hold): string {
  return alive
    ? `${service} is in development mode: ${by} has it since ${since}`
    : `${service} is still in development mode: ${by}, who has it since ${since}, left without giving it back`;
}
