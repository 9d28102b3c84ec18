/**
 * Binds claims to volumes, makes volumes for claims as folders of this machine, and frees them when their claim is gone
 * (https://kubernetes.io/docs/concepts/storage/persistent-volumes/).
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import type { KubeObject } from "@kws/kube/object";
import { parseQuantity } from "@kws/kube/quantity";
import { persistentVolumeClaims, persistentVolumes, storageClasses } from "@kws/kube/resources";
import { selects } from "@kws/kube/selector";
import { ApiError } from "@kws/kube/status";
import { watch, type Controller, type ControllerContext } from "./context.ts";

/** The provisioner's name in StorageClasses. */
export const provisioner = "kws.dev/local-path";

const annotation = {
  bindCompleted: "pv.kubernetes.io/bind-completed",
  boundByController: "pv.kubernetes.io/bound-by-controller",
  provisionedBy: "pv.kubernetes.io/provisioned-by",
  storageProvisioner: "volume.kubernetes.io/storage-provisioner",
  selectedNode: "volume.kubernetes.io/selected-node",
  isDefault: "storageclass.kubernetes.io/is-default-class",
} as const;

/** The class that claims get when they name none. */
export const standardClass: KubeObject = {
  apiVersion: "storage.k8s.io/v1",
  kind: "StorageClass",
  metadata: { name: "standard", annotations: { [annotation.isDefault]: "true" } },
  provisioner,
  reclaimPolicy: "Delete",
  volumeBindingMode: "Immediate",
  allowVolumeExpansion: true,
};

export async function ensureStandardClass(ctx: ControllerContext): Promise<void> {
  try {
    await ctx.client.create(storageClasses, standardClass);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== "AlreadyExists") throw error;
  }
}

export function claimController(ctx: ControllerContext): Controller {
  const claims = ctx.resource(persistentVolumeClaims);
  const volumes = ctx.resource(persistentVolumes);
  const classes = ctx.resource(storageClasses);
  const recorder = ctx.recorder("persistentvolume-controller");
  const pendingClaims = (): string[] =>
    claims
      .list()
      .filter((claim) => claim["status"]?.phase !== "Bound")
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

  return {
    name: "persistentvolumeclaim-binder",
    watches: [
      watch(claims),
      watch(volumes, (volume) => {
        const reference = volume["spec"]?.claimRef as { namespace: string; name: string } | undefined;
        return reference === undefined ? pendingClaims() : [`${reference.namespace}/${reference.name}`];
      }),
      watch(classes, pendingClaims),
    ],
    async reconcile({ namespace, name }) {
      const cached = claims.get(name, namespace);
      if (cached === undefined || cached.metadata.deletionTimestamp !== undefined) return;
      const claim = await withClass(cached);
      const named = String(claim["spec"].volumeName ?? "");
      if (named !== "") {
        const volume = volumes.get(named);
        if (volume === undefined) {
          const wasBound = claim.metadata.annotations?.[annotation.bindCompleted] === "yes";
          await claims.updateStatus(claim, { ...claim["status"], phase: wasBound ? "Lost" : "Pending" });
        } else if (isFor(volume, claim) || isFree(volume)) {
          await bind(claim, volume);
        }
        return;
      }
      const storageClass = classes.get(String(claim["spec"].storageClassName ?? ""));
      const reserved = volumes.list().find((volume) => isFor(volume, claim));
      const waits =
        storageClass?.["volumeBindingMode"] === "WaitForFirstConsumer" &&
        claim.metadata.annotations?.[annotation.selectedNode] === undefined;
      if (waits && reserved === undefined) {
        await pending(
          claim,
          "WaitForFirstConsumer",
          "waiting for first consumer to be created before binding",
        );
        return;
      }
      const volume = reserved ?? smallestMatch(claim, volumes.list());
      if (volume !== undefined) {
        await bind(claim, volume);
      } else if (storageClass?.["provisioner"] === provisioner) {
        await bind(claim, await provision(claim, storageClass));
      } else if (
        storageClass !== undefined &&
        storageClass["provisioner"] !== "kubernetes.io/no-provisioner"
      ) {
        const other = String(storageClass["provisioner"]);
        const message = `Waiting for a volume to be created either by the external provisioner '${other}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
        if (claim.metadata.annotations?.[annotation.storageProvisioner] !== other) {
          const annotations = { [annotation.storageProvisioner]: other };
          await claims.patch(claim, "merge", { metadata: { annotations } });
        } else {
          await pending(claim, "ExternalProvisioning", message);
        }
      } else {
        await pending(
          claim,
          "FailedBinding",
          "no persistent volumes available for this claim and no storage class is set",
        );
      }
    },
  };

  /** A claim that names no class gets the default one, also when that came later than the claim. */
  async function withClass(claim: KubeObject): Promise<KubeObject> {
    if (claim["spec"].storageClassName !== undefined || claim["spec"].volumeName) return claim;
    const fallback = classes
      .list()
      .find(({ metadata }) => metadata.annotations?.[annotation.isDefault] === "true");
    if (fallback === undefined) return claim;
    return claims.patch(claim, "merge", { spec: { storageClassName: fallback.metadata.name } });
  }

  async function pending(claim: KubeObject, reason: string, message: string): Promise<void> {
    recorder.event(claim, "Normal", reason, message);
    await claims.updateStatus(claim, { ...claim["status"], phase: "Pending" });
  }

  async function provision(claim: KubeObject, storageClass: KubeObject): Promise<KubeObject> {
    const name = `pvc-${claim.metadata.uid}`;
    const path = join(ctx.volumesDir, name);
    await mkdir(path, { recursive: true });
    // Pods write with users of their own choice; mkdir's mode is subject to the umask.
    await chmod(path, 0o777);
    const wanted = volumeFor(claim, storageClass, name, path);
    try {
      const volume = await volumes.create(wanted);
      recorder.event(claim, "Normal", "ProvisioningSucceeded", `Successfully provisioned volume ${name}`);
      return volume;
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== "AlreadyExists") throw error;
      return await ctx.client.get(persistentVolumes, name);
    }
  }

  /** In upstream's order, so that a crash in between leaves something that the next round completes. */
  async function bind(claim: KubeObject, volume: KubeObject): Promise<void> {
    let bound = volume;
    if (!isFor(volume, claim) || volume["spec"].claimRef.uid === undefined) {
      const patch = {
        metadata: {
          resourceVersion: volume.metadata.resourceVersion,
          annotations: { [annotation.boundByController]: "yes" },
        },
        spec: { claimRef: referenceTo(claim) },
      };
      bound = await volumes.patch(volume, "merge", patch);
    }
    if (bound["status"]?.phase !== "Bound")
      bound = await volumes.updateStatus(bound, { ...bound["status"], phase: "Bound" });
    let next = claim;
    const { name } = bound.metadata;
    const complete = claim.metadata.annotations?.[annotation.bindCompleted] === "yes";
    if (claim["spec"].volumeName !== name || !complete) {
      const annotations = {
        [annotation.bindCompleted]: "yes",
        ...(claim["spec"].volumeName === name ? {} : { [annotation.boundByController]: "yes" }),
      };
      next = await claims.patch(claim, "merge", { metadata: { annotations }, spec: { volumeName: name } });
    }
    // A folder has no size of its own: an enlarged claim is simply granted.
    const requested = next["spec"].resources?.requests?.storage as string | undefined;
    const offered = String(bound["spec"].capacity?.storage ?? requested ?? "0");
    const local = bound.metadata.annotations?.[annotation.provisionedBy] === provisioner;
    const grown = local && requested !== undefined && parseQuantity(requested) > parseQuantity(offered);
    if (grown) await volumes.patch(bound, "merge", { spec: { capacity: { storage: requested } } });
    await claims.updateStatus(next, {
      ...next["status"],
      phase: "Bound",
      accessModes: bound["spec"].accessModes,
      capacity: { ...bound["spec"].capacity, ...(grown ? { storage: requested } : {}) },
    });
  }
}

function referenceTo({ metadata }: KubeObject): object {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { apiVersion: "v1", kind: "PersistentVolumeClaim", name, namespace, uid, resourceVersion };
}

/** The volume that the provisioner makes for a claim. */
export function volumeFor(
  claim: KubeObject,
  storageClass: KubeObject,
  name: string,
  path: string,
): KubeObject {
  const { accessModes, resources, volumeMode = "Filesystem" } = claim["spec"];
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: {
      name,
      annotations: { [annotation.provisionedBy]: provisioner },
      finalizers: ["kubernetes.io/pv-protection"],
    },
    spec: {
      accessModes,
      capacity: { storage: resources?.requests?.storage ?? "0" },
      claimRef: referenceTo(claim),
      hostPath: { path, type: "DirectoryOrCreate" },
      persistentVolumeReclaimPolicy: storageClass["reclaimPolicy"] ?? "Delete",
      storageClassName: storageClass.metadata.name,
      volumeMode,
    },
  };
}

/** Reserved for, or bound to, this very claim. A reservation may name the claim without its uid. */
export function isFor(volume: KubeObject, claim: KubeObject): boolean {
  const reference = volume["spec"]?.claimRef as { name: string; namespace: string; uid?: string } | undefined;
  if (reference === undefined) return false;
  const { name, namespace, uid } = claim.metadata;
  return (
    reference.name === name &&
    reference.namespace === namespace &&
    [undefined, "", uid].includes(reference.uid)
  );
}

function isFree(volume: KubeObject): boolean {
  return (
    volume["spec"]?.claimRef === undefined &&
    volume.metadata.deletionTimestamp === undefined &&
    ["Available", undefined].includes(volume["status"]?.phase as string | undefined)
  );
}

/** The free volume that wastes least. */
export function smallestMatch(claim: KubeObject, volumes: KubeObject[]): KubeObject | undefined {
  const {
    accessModes = [],
    resources,
    selector,
    storageClassName = "",
    volumeMode = "Filesystem",
  } = claim["spec"];
  const size = (volume: KubeObject): number =>
    parseQuantity(String(volume["spec"]?.capacity?.storage ?? "0"));
  const wanted = parseQuantity(String(resources?.requests?.storage ?? "0"));
  return volumes
    .filter(isFree)
    .filter((volume) => (volume["spec"].storageClassName ?? "") === storageClassName)
    .filter((volume) => (volume["spec"].volumeMode ?? "Filesystem") === volumeMode)
    .filter((volume) => (accessModes as string[]).every((mode) => volume["spec"].accessModes?.includes(mode)))
    .filter((volume) => selector === undefined || selects(selector, volume.metadata.labels))
    .filter((volume) => size(volume) >= wanted)
    .sort((a, b) => size(a) - size(b))[0];
}

export function volumeController(ctx: ControllerContext): Controller {
  const claims = ctx.resource(persistentVolumeClaims);
  const volumes = ctx.resource(persistentVolumes);

  return {
    name: "persistentvolume-binder",
    watches: [
      watch(volumes),
      watch(
        claims,
        (claim) => (claim["spec"]?.volumeName ? [String(claim["spec"].volumeName)] : []),
        () => false,
      ),
    ],
    async reconcile({ name }) {
      const volume = volumes.get(name);
      if (volume === undefined) return;
      const reference = volume["spec"].claimRef as
        | { name: string; namespace: string; uid?: string }
        | undefined;
      if (reference?.uid === undefined) {
        if (volume.metadata.deletionTimestamp === undefined) {
          await volumes.updateStatus(volume, { ...volume["status"], phase: "Available" });
        }
        return;
      }
      const cached = claims.get(reference.name, reference.namespace);
      const claim =
        cached ?? (await ctx.client.find(persistentVolumeClaims, reference.name, reference.namespace));
      if (claim?.metadata.uid === reference.uid) return;
      // Released first: while it counts as bound its finalizer holds it.
      const released = await volumes.updateStatus(volume, { ...volume["status"], phase: "Released" });
      const local = volume.metadata.annotations?.[annotation.provisionedBy] === provisioner;
      if (volume["spec"].persistentVolumeReclaimPolicy !== "Delete" || !local) return;
      await removeFolder(String(volume["spec"].hostPath?.path ?? ""));
      if (released.metadata.deletionTimestamp === undefined) await volumes.delete(released);
    },
  };

  /** Never outside of the folder that is ours, whatever the object says. */
  async function removeFolder(path: string): Promise<void> {
    if (!resolve(path).startsWith(resolve(ctx.volumesDir) + sep)) return;
    await ctx.standstill.ended();
    await rm(path, { recursive: true, force: true });
  }
}
