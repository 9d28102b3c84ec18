/** What a workspace has left in the cluster that it no longer names: releases of services that were dropped, and their volumes. */
import type { KubeClient } from "@kws/kube/client";
import { listReleases } from "../services/releases.ts";
import { keptClaims } from "./claims.ts";

export interface OrphanOptions {
  /** The workspace's name. */
  workspace: string;
  /** The names of its services. */
  services: string[];
  /** Only in this stack. */
  stack?: string | undefined;
  /** Only in this namespace. */
  namespace?: string | undefined;
  signal: AbortSignal;
}

export interface Orphan {
  service: string;
  stack: string;
  namespace: string;
  /** Its release is there. */
  installed: boolean;
  /** Claims that were kept of it. */
  volumes: string[];
}

/** By stack, namespace and name. Other workspaces' are none of ours. */
export async function findOrphans(client: KubeClient, options: OrphanOptions): Promise<Orphan[]> {
  const { workspace, services, stack, namespace, signal } = options;
  const isMeant = (one: { workspace: string; stack: string; namespace: string; service: string }) =>
    one.workspace === workspace &&
    !services.includes(one.service) &&
    (stack === undefined || one.stack === stack) &&
    (namespace === undefined || one.namespace === namespace);
  const [releases, claims] = await Promise.all([
    listReleases(client, { signal }),
    keptClaims(client, signal),
  ]);
  const found = new Map<string, Orphan>();
  const orphan = (one: { stack: string; namespace: string; service: string }): Orphan => {
    const key = [one.stack, one.namespace, one.service].join("/");
    const known = found.get(key) ?? {
      service: one.service,
      stack: one.stack,
      namespace: one.namespace,
      installed: false,
      volumes: [],
    };
    found.set(key, known);
    return known;
  };
  for (const release of releases.filter(isMeant)) orphan(release).installed = true;
  for (const claim of claims.filter(isMeant)) orphan(claim).volumes.push(claim.claim);
  return [...found].sort(([a], [b]) => a.localeCompare(b)).map(([, one]) => one);
}
