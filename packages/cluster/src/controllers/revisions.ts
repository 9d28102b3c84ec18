/** ControllerRevisions: the past templates of StatefulSets and DaemonSets, numbered, with the limit on how many are kept. */
import { isSame, type CachedResource } from "@kws/kube/cached";
import { controllerOf, type KubeObject } from "@kws/kube/object";
import { ApiError } from "@kws/kube/status";
import { hashOf } from "./hash.ts";
import { controllerReference, type PodTemplate } from "./pods.ts";

export interface ControllerRevision extends KubeObject {
  revision: number;
  data: { spec: { template: PodTemplate & { $patch?: string } } };
}

export const revisionLabel = "controller-revision-hash";

export interface Revisions {
  /** Of the present template. */
  update: ControllerRevision;
  /** All, the oldest first. */
  all: ControllerRevision[];
}

/** Finds or makes the revision of the owner's template; going back to an old template makes its revision the newest. */
export async function syncRevisions(
  cached: CachedResource<ControllerRevision>,
  owner: KubeObject,
  matchLabels: Record<string, string>,
): Promise<Revisions> {
  const all = cached
    .ownedBy(owner.metadata.uid)
    .filter((revision) => controllerOf(revision)?.uid === owner.metadata.uid)
    .sort((a, b) => a.revision - b.revision);
  const template = owner["spec"].template as PodTemplate;
  const newest = all.at(-1);
  const equal = all.filter((revision) => isSame(templateOf(revision), template)).at(-1);
  if (equal !== undefined && equal === newest) return { update: equal, all };
  const number = (newest?.revision ?? 0) + 1;
  if (equal !== undefined) {
    const update = await cached.patch(equal, "merge", { revision: number });
    return { update, all: [...all.filter((revision) => revision !== equal), update] };
  }
  const update = await create(cached, owner, matchLabels, number);
  return { update, all: [...all, update] };
}

async function create(
  cached: CachedResource<ControllerRevision>,
  owner: KubeObject,
  matchLabels: Record<string, string>,
  revision: number,
): Promise<ControllerRevision> {
  const template = owner["spec"].template as PodTemplate;
  for (let collisions = Number(owner["status"]?.collisionCount ?? 0); ; collisions += 1) {
    const hash = hashOf(template, collisions === 0 ? undefined : collisions);
    const { name, namespace } = owner.metadata;
    try {
      return await cached.create({
        apiVersion: "apps/v1",
        kind: "ControllerRevision",
        metadata: {
          name: `${name}-${hash}`,
          namespace,
          labels: { ...matchLabels, [revisionLabel]: hash },
          ownerReferences: [controllerReference(owner)],
        },
        data: { spec: { template: { ...structuredClone(template), $patch: "replace" } } },
        revision,
      });
    } catch (error) {
      const taken = error instanceof ApiError && error.reason === "AlreadyExists";
      if (!taken || collisions > 10) throw error;
    }
  }
}

/** The template that a revision keeps. */
export function templateOf(revision: ControllerRevision): PodTemplate {
  const { $patch: _, ...template } = revision.data.spec.template;
  return template;
}

export function hashOfRevision(revision: ControllerRevision): string {
  return revision.metadata.labels?.[revisionLabel] ?? revision.metadata.name;
}

/** Deletes the oldest revisions that no pod uses, beyond the limit. */
export async function trimRevisions(
  cached: CachedResource<ControllerRevision>,
  all: ControllerRevision[],
  used: Set<string>,
  limit: number,
): Promise<void> {
  const unused = all.filter(
    (revision) => !used.has(revision.metadata.name) && !used.has(hashOfRevision(revision)),
  );
  for (const revision of unused.slice(0, Math.max(0, unused.length - limit))) await cached.delete(revision);
}
