/** What a pod's claims mean for its placement: bound volumes tie it to nodes, others wait for the node to be chosen. */
import type { Informer } from "@kws/kube/informer";
import type { KubeObject } from "@kws/kube/object";
import type { Pod } from "../controllers/pods.ts";
import type { Node } from "./node-info.ts";
import { matchesNodeTerm, type NodeSelectorTerm } from "./terms.ts";

/** The scheduler tells the volume binder with this annotation for which node to provision. */
export const selectedNode = "volume.kubernetes.io/selected-node";

export interface VolumeCheck {
  /** Why the pod cannot be placed anywhere yet. */
  unready(pod: Pod): string | undefined;
  /** Why its bound volumes keep it off this node. */
  conflict(pod: Pod, node: Node): string | undefined;
  /** Claims that are provisioned only once the node is known. */
  waitingForNode(pod: Pod): KubeObject[];
}

export function createVolumeCheck(sources: {
  claims: Informer;
  volumes: Informer;
  classes: Informer;
}): VolumeCheck {
  const { claims, volumes, classes } = sources;
  const isBound = (claim: KubeObject): boolean => claim["status"]?.phase === "Bound";
  const waitsForConsumer = (claim: KubeObject): boolean => {
    const name = claim["spec"]?.storageClassName as string | undefined;
    const mode: unknown = name === undefined ? undefined : classes.get(name)?.["volumeBindingMode"];
    return mode === "WaitForFirstConsumer" && !claim["spec"]?.volumeName;
  };
  const claimsOf = (pod: Pod): { name: string; claim: KubeObject | undefined }[] =>
    claimNames(pod).map((name) => ({ name, claim: claims.get(name, pod.metadata.namespace) }));

  return {
    unready(pod) {
      for (const { name, claim } of claimsOf(pod)) {
        if (claim === undefined) return `persistentvolumeclaim "${name}" not found`;
        if (claim.metadata.deletionTimestamp !== undefined)
          return `persistentvolumeclaim "${name}" is being deleted`;
        if (!isBound(claim) && !waitsForConsumer(claim))
          return "pod has unbound immediate PersistentVolumeClaims";
      }
      return undefined;
    },
    conflict(pod, node) {
      for (const { claim } of claimsOf(pod)) {
        const volume = volumes.get(String(claim?.["spec"]?.volumeName ?? ""));
        const required = volume?.["spec"]?.nodeAffinity?.required as
          | { nodeSelectorTerms?: NodeSelectorTerm[] }
          | undefined;
        if (required === undefined) continue;
        if (!(required.nodeSelectorTerms ?? []).some((term) => matchesNodeTerm(term, node))) {
          return "node(s) had volume node affinity conflict";
        }
      }
      return undefined;
    },
    waitingForNode: (pod) =>
      claimsOf(pod)
        .map(({ claim }) => claim)
        .filter((claim) => claim !== undefined)
        .filter((claim) => !isBound(claim)),
  };
}

interface Volume {
  name: string;
  persistentVolumeClaim?: { claimName: string };
  ephemeral?: object;
}

/** Names of the claims a pod mounts; generic ephemeral volumes have claims named after pod and volume. */
export function claimNames(pod: Pod): string[] {
  return ((pod.spec["volumes"] ?? []) as Volume[]).flatMap((volume) => {
    if (volume.persistentVolumeClaim !== undefined) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral === undefined ? [] : [`${pod.metadata.name}-${volume.name}`];
  });
}
