/**
 * Which objects belong to a controller: those it owns and selects it keeps, orphans it selects it adopts, owned ones it no
 * longer selects it lets go (k8s.io/kubernetes pkg/controller/controller_ref_manager.go).
 */
import type { CachedResource } from "@kws/kube/cached";
import type { KubeClient, Resource } from "@kws/kube/client";
import { controllerOf, type KubeObject } from "@kws/kube/object";
import { ApiError } from "@kws/kube/status";
import { controllerReference } from "./pods.ts";

export interface ClaimOptions<T extends KubeObject> {
  client: KubeClient;
  owner: KubeObject;
  ownerResource: Resource;
  cached: CachedResource<T>;
  candidates: T[];
  selected: (object: T) => boolean;
}

/** The objects that belong to the owner after adoption and release. */
export async function claim<T extends KubeObject>(options: ClaimOptions<T>): Promise<T[]> {
  const { owner, candidates, selected } = options;
  const claimed: T[] = [];
  for (const object of candidates) {
    const controller = controllerOf(object);
    if (controller === undefined) {
      if (!selected(object) || isLeaving(owner) || isLeaving(object)) continue;
      const adopted = await adopt(options, object);
      if (adopted !== undefined) claimed.push(adopted);
    } else if (controller.uid === owner.metadata.uid) {
      if (selected(object)) claimed.push(object);
      else if (!isLeaving(owner)) await release(options, object);
    }
  }
  return claimed;
}

async function adopt<T extends KubeObject>(options: ClaimOptions<T>, object: T): Promise<T | undefined> {
  const { client, owner, ownerResource, cached } = options;
  // The copy may be behind: adopting for an owner that is going away would orphan the object for good.
  const fresh = await client.find(ownerResource, owner.metadata.name, owner.metadata.namespace);
  if (fresh === undefined || fresh.metadata.uid !== owner.metadata.uid || isLeaving(fresh)) return undefined;
  const { uid, resourceVersion, ownerReferences = [] } = object.metadata;
  const patch = {
    metadata: { uid, resourceVersion, ownerReferences: [...ownerReferences, controllerReference(owner)] },
  };
  return ignoreGone(cached.patch(object, "merge", patch));
}

async function release<T extends KubeObject>(options: ClaimOptions<T>, object: T): Promise<void> {
  const { uid, resourceVersion, ownerReferences = [] } = object.metadata;
  const left = ownerReferences.filter((reference) => reference.uid !== options.owner.metadata.uid);
  const patch = { metadata: { uid, resourceVersion, ownerReferences: left.length === 0 ? null : left } };
  await ignoreGone(options.cached.patch(object, "merge", patch));
}

async function ignoreGone<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof ApiError && (error.code === 404 || error.code === 422)) return undefined;
    throw error;
  }
}

function isLeaving(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}
