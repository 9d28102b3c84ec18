/** Keeps claims that pods use and volumes that claims use from vanishing under them, by finalizers. */
import type { KubeObject } from "@kws/kube/object";
import { persistentVolumeClaims, persistentVolumes, pods as podResource } from "@kws/kube/resources";
import type { CachedResource } from "@kws/kube/cached";
import { claimNames } from "../scheduler/volumes.ts";
import { watch, type Controller, type ControllerContext } from "./context.ts";
import { isFinished, type Pod } from "./pods.ts";

export function claimProtectionController(ctx: ControllerContext): Controller {
  const claims = ctx.resource(persistentVolumeClaims);
  const pods = ctx.resource<Pod>(podResource);
  return {
    name: "persistentvolumeclaim-protection-controller",
    watches: [
      watch(claims),
      watch(
        pods,
        (pod) => claimNames(pod).map((name) => `${pod.metadata.namespace}/${name}`),
        (pod, old) => isFinished(pod) !== isFinished(old),
      ),
    ],
    async reconcile({ namespace, name }) {
      const claim = claims.get(name, namespace);
      if (claim === undefined) return;
      const inUse = pods
        .list(namespace)
        .some((pod) => pod.spec.nodeName && !isFinished(pod) && claimNames(pod).includes(name));
      await protect(claims, claim, "kubernetes.io/pvc-protection", inUse);
    },
  };
}

export function volumeProtectionController(ctx: ControllerContext): Controller {
  const volumes = ctx.resource(persistentVolumes);
  return {
    name: "persistentvolume-protection-controller",
    watches: [watch(volumes)],
    async reconcile({ name }) {
      const volume = volumes.get(name);
      if (volume === undefined) return;
      await protect(volumes, volume, "kubernetes.io/pv-protection", volume["status"]?.phase === "Bound");
    },
  };
}

/** The finalizer is there from the beginning and goes when the object is unwanted and unused. */
async function protect(
  cached: CachedResource,
  object: KubeObject,
  finalizer: string,
  inUse: boolean,
): Promise<void> {
  const { finalizers = [], deletionTimestamp, resourceVersion } = object.metadata;
  const has = finalizers.includes(finalizer);
  const wanted = deletionTimestamp === undefined || (has && inUse);
  if (wanted === has) return;
  const next = wanted ? [...finalizers, finalizer] : finalizers.filter((other) => other !== finalizer);
  await cached.patch(object, "merge", { metadata: { resourceVersion, finalizers: next } });
}
