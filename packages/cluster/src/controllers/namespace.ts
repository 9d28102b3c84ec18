/**
 * Empties a namespace that is being deleted and then lets it go: pods first, so that what they use outlives them, then
 * everything else that discovery knows, CustomResources included (k8s.io/kubernetes pkg/controller/namespace/deletion).
 */
import { messageOf } from "@kws/base/errors";
import { pathOf, type Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { namespaces as namespaceResource } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { withCondition, type Condition } from "./conditions.ts";
import { watch, type Controller, type ControllerContext } from "./context.ts";
import { discover, type DiscoveredResource } from "./discovery.ts";

const finalizer = "kubernetes";
/** While something is left that takes its time: how soon to look again, in milliseconds. */
const firstLook = 50;
const lastLook = 2_000;

interface Remaining {
  resource: Resource;
  count: number;
  /** Finalizers that keep them, each with how many objects. */
  finalizers: Map<string, number>;
}

export function namespaceController(ctx: ControllerContext): Controller {
  const namespaces = ctx.resource(namespaceResource);
  const looks = new Map<string, number>();

  return {
    name: "namespace-controller",
    watches: [watch(namespaces)],
    concurrency: 4,
    async reconcile({ name }) {
      const namespace = namespaces.get(name);
      if (namespace?.metadata.deletionTimestamp === undefined) {
        looks.delete(name);
        return;
      }
      if (!finalizersOf(namespace).includes(finalizer)) return;
      const failures: string[] = [];
      const resources = await discover(ctx.client, ctx.signal);
      const deletable = resources.filter(
        ({ namespaced, verbs }) => namespaced && verbs.includes("list") && verbs.includes("delete"),
      );
      const isPods = ({ group, resource }: DiscoveredResource): boolean =>
        group === "" && resource === "pods";
      let remaining = await empty(name, deletable.filter(isPods), failures);
      if (remaining.length === 0) {
        remaining = await empty(
          name,
          deletable.filter((resource) => !isPods(resource)),
          failures,
        );
      }
      if (remaining.length === 0 && failures.length === 0) {
        looks.delete(name);
        await finalize(namespace);
        return;
      }
      const latest = namespaces.get(name) ?? namespace;
      const conditions = conditionsFor(latest, remaining, failures, ctx.now());
      await namespaces.updateStatus(latest, { ...latest["status"], phase: "Terminating", conditions });
      const wait = looks.get(name) ?? firstLook;
      looks.set(name, Math.min(wait * 1.5, lastLook));
      return { requeueAfter: wait };
    },
  };

  /** Asks for the deletion of everything there; answers what is left. */
  async function empty(
    namespace: string,
    resources: DiscoveredResource[],
    failures: string[],
  ): Promise<Remaining[]> {
    const results = await Promise.all(
      resources.map(async (resource) => {
        try {
          return await emptyOne(namespace, resource);
        } catch (error) {
          if (error instanceof ApiError && (error.code === 404 || error.code === 405)) return undefined;
          failures.push(`${resource.resource}: ${messageOf(error)}`);
          return undefined;
        }
      }),
    );
    return results.filter((result) => result !== undefined);
  }

  async function emptyOne(namespace: string, resource: DiscoveredResource): Promise<Remaining | undefined> {
    const { client, signal } = ctx;
    const before = await client.list(resource, namespace, { signal });
    if (before.items.some((item) => item.metadata.deletionTimestamp === undefined)) {
      const options = { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background" };
      if (resource.verbs.includes("deletecollection")) {
        await client.request({
          method: "DELETE",
          path: pathOf(resource, namespace),
          headers: { "content-type": "application/json" },
          body: JSON.stringify(options),
          signal,
        });
      } else {
        for (const item of before.items) {
          await client.delete(resource, item.metadata.name, namespace, {
            propagationPolicy: "Background",
            signal,
          });
        }
      }
    }
    if (before.items.length === 0) return undefined;
    const { items } = await client.list(resource, namespace, { signal });
    if (items.length === 0) return undefined;
    const finalizers = new Map<string, number>();
    for (const name of items.flatMap((item) => item.metadata.finalizers ?? [])) {
      finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
    }
    return { resource, count: items.length, finalizers };
  }

  async function finalize(namespace: KubeObject): Promise<void> {
    const fresh = await ctx.client.find(namespaceResource, namespace.metadata.name);
    if (fresh === undefined || fresh.metadata.uid !== namespace.metadata.uid) return;
    const finalizers = finalizersOf(fresh).filter((name) => name !== finalizer);
    const next = { ...fresh, spec: { ...fresh["spec"], finalizers } };
    try {
      await ctx.client.update(namespaceResource, next, { subresource: "finalize" });
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 404) throw error;
    }
  }
}

function finalizersOf(namespace: KubeObject): string[] {
  return (namespace["spec"]?.finalizers ?? []) as string[];
}

/** Upstream's five conditions of a namespace on its way out. */
function conditionsFor(
  namespace: KubeObject,
  remaining: Remaining[],
  failures: string[],
  now: number,
): Condition[] {
  const content = remaining.map(({ resource, count }) => {
    const name = resource.group === "" ? `${resource.resource}.` : `${resource.resource}.${resource.group}`;
    return `${name} has ${count} resource instances`;
  });
  const finalizers = remaining
    .flatMap((entry) => [...entry.finalizers])
    .map(([name, count]) => `${name} in ${count} resource instances`);
  const all: Condition[] = [
    {
      type: "NamespaceDeletionDiscoveryFailure",
      status: "False",
      reason: "ResourcesDiscovered",
      message: "All resources successfully discovered",
    },
    {
      type: "NamespaceDeletionGroupVersionParsingFailure",
      status: "False",
      reason: "ParsedGroupVersions",
      message: "All legacy kube types successfully parsed",
    },
    failures.length === 0
      ? {
          type: "NamespaceDeletionContentFailure",
          status: "False",
          reason: "ContentDeleted",
          message: "All content successfully deleted, may be waiting on finalization",
        }
      : {
          type: "NamespaceDeletionContentFailure",
          status: "True",
          reason: "ContentDeletionFailed",
          message: `Failed to delete all resource types, ${failures.length} remaining: ${failures.join(", ")}`,
        },
    content.length === 0
      ? {
          type: "NamespaceContentRemaining",
          status: "False",
          reason: "ContentRemoved",
          message: "All content successfully removed",
        }
      : {
          type: "NamespaceContentRemaining",
          status: "True",
          reason: "SomeResourcesRemain",
          message: `Some resources are remaining: ${content.join(", ")}`,
        },
    finalizers.length === 0
      ? {
          type: "NamespaceFinalizersRemaining",
          status: "False",
          reason: "ContentHasNoFinalizers",
          message: "All content-preserving finalizers finished",
        }
      : {
          type: "NamespaceFinalizersRemaining",
          status: "True",
          reason: "SomeFinalizersRemain",
          message: `Some content in the namespace has finalizers remaining: ${finalizers.join(", ")}`,
        },
  ];
  const present = (namespace["status"]?.conditions ?? []) as Condition[];
  return all.reduce((conditions, next) => withCondition(conditions, next, now), present);
}
