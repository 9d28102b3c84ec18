/** A pod's volumes as folders on disk, and where a container's mounts point into them. */
import { chmod, chown, lstat, mkdir, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { persistentVolumeClaims, persistentVolumes } from "@kws/kube/resources";
import { parseQuantity } from "@kws/kube/quantity";
import { writeAtomically } from "./atomic.ts";
import type { Allocatable } from "./downward.ts";
import type { Pod, Volume } from "./pod.ts";
import { allContainers } from "./record.ts";
import { projectVolume, type Projection } from "./projection.ts";
import type { ReferenceKind } from "./references.ts";

/** A volume that cannot be set up yet: the pod waits in `ContainerCreating` and says so in a `FailedMount` event. */
export class VolumeError extends Error {
  override name = "VolumeError";
}

export interface VolumeContext {
  client: KubeClient;
  pod: Pod;
  /** `<dataDir>/pods/<uid>/volumes`. */
  root: string;
  /** Containers may use the volumes already: owners and modes are theirs to change from then on. */
  inUse: boolean;
  machine: Allocatable;
  reference(kind: ReferenceKind, name: string): Promise<KubeObject | undefined>;
  /** A ServiceAccount token for the pod, from a cache that renews it in time. */
  token(audience: string | undefined, expirationSeconds: number): Promise<string>;
}

/** What a mount of the volume binds to. */
export interface VolumeSource {
  path: string;
  readOnly: boolean;
  /** Lives in memory. */
  tmpfs?: { sizeBytes?: number };
  /** The pod's own files, as opposed to a hostPath: subPaths may be made in it and fsGroup applies. */
  managed: boolean;
}

/** Sets up every volume, or brings what is projected into it up to date; throws `VolumeError` with upstream's wording. */
export async function setUpVolumes(context: VolumeContext): Promise<Map<string, VolumeSource>> {
  const result = new Map<string, VolumeSource>();
  const all = await Promise.all(
    (context.pod.spec.volumes ?? []).map(async (volume) => {
      try {
        return [volume.name, await setUp(volume, context)] as const;
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${error.message}`, {
          cause: error,
        });
      }
    }),
  );
  for (const [name, source] of all) result.set(name, source);
  return result;
}

async function setUp(volume: Volume, context: VolumeContext): Promise<VolumeSource> {
  const path = join(context.root, volume.name);
  const fsGroup = context.pod.spec.securityContext?.fsGroup;
  if (volume.hostPath) return setUpHostPath(volume.hostPath, false);
  if (volume.persistentVolumeClaim || volume.ephemeral) return setUpClaim(volume, context);
  const projection: Projection | undefined = await projectVolume(volume, context);
  if (projection !== undefined) {
    await writeAtomically(path, projection.files, { gid: fsGroup });
    return { path, readOnly: true, managed: true };
  }
  await mkdir(path, { recursive: true });
  if (volume.emptyDir?.medium === "Memory" && mountsOf(volume.name, context.pod) === 1) {
    const { sizeLimit } = volume.emptyDir;
    const sizeBytes = sizeLimit === undefined ? undefined : Math.ceil(parseQuantity(sizeLimit));
    return { path, readOnly: false, managed: true, tmpfs: { sizeBytes } };
  }
  if (!context.inUse) {
    // Any user of any container may write to an emptyDir.
    await chmod(path, fsGroup === undefined ? 0o777 : 0o2777);
    if (fsGroup !== undefined) await changeGroup(path, fsGroup);
  }
  return { path, readOnly: false, managed: true };
}

/**
 * A runtime's tmpfs belongs to one container. Volumes in memory that several share, or mount in part, are folders on disk
 * instead: sharing is what programs rely on, memory is what they hope for.
 */
function mountsOf(name: string, pod: Pod): number {
  const mounts = allContainers(pod).flatMap(({ volumeMounts = [] }) =>
    volumeMounts.filter((mount) => mount.name === name),
  );
  return mounts.some(({ subPath, subPathExpr }) => subPath || subPathExpr) ? Number.NaN : mounts.length;
}

async function setUpClaim(volume: Volume, context: VolumeContext): Promise<VolumeSource> {
  const { pod, client } = context;
  const namespace = pod.metadata.namespace ?? "";
  const claimName = volume.persistentVolumeClaim?.claimName ?? `${pod.metadata.name}-${volume.name}`;
  const claim = await client.find(persistentVolumeClaims, claimName, namespace);
  if (claim === undefined) throw new Error(`persistentvolumeclaim "${claimName}" not found`);
  const bound: string | undefined = claim.spec?.volumeName;
  if (!bound || claim.status?.phase !== "Bound") {
    throw new Error(`PersistentVolumeClaim ${namespace}/${claimName} is not bound to a volume`);
  }
  const persistent = await client.find(persistentVolumes, bound);
  const readOnly = volume.persistentVolumeClaim?.readOnly === true;
  const hostPath = persistent?.spec?.hostPath as { path: string; type?: string } | undefined;
  const local = persistent?.spec?.local as { path: string } | undefined;
  const source = hostPath ?? local;
  if (source === undefined) {
    throw new Error(
      `persistentvolume "${bound}" is neither hostPath nor local; this cluster has no other volumes`,
    );
  }
  const result = await setUpHostPath({ type: hostPath ? "DirectoryOrCreate" : "", ...source }, readOnly);
  const fsGroup = pod.spec.securityContext?.fsGroup;
  if (fsGroup !== undefined && !readOnly && !context.inUse) await changeGroup(result.path, fsGroup);
  return { ...result, managed: true };
}

/** The types of https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types. */
async function setUpHostPath(
  { path, type = "" }: { path: string; type?: string },
  readOnly: boolean,
): Promise<VolumeSource> {
  if (type === "DirectoryOrCreate") await mkdir(path, { recursive: true, mode: 0o755 });
  if (type === "FileOrCreate") await (await open(path, "a", 0o644)).close();
  const wants = type.replace("OrCreate", "");
  const info = await stat(path).catch((error: unknown) => {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    throw new Error(`hostPath type check failed: ${path} is not ${describe(wants)}`, { cause: error });
  });
  const fits: Record<string, boolean> = {
    Directory: info.isDirectory(),
    File: info.isFile(),
    Socket: info.isSocket(),
    CharDevice: info.isCharacterDevice(),
    BlockDevice: info.isBlockDevice(),
  };
  if (fits[wants] === false) throw new Error(`hostPath type check failed: ${path} is not ${describe(wants)}`);
  return { path, readOnly, managed: false };
}

function describe(type: string): string {
  if (type === "") return "there";
  return `a ${type.replace("CharDevice", "character device").replace("BlockDevice", "block device").toLowerCase()}`;
}

/** Group ownership and access for `fsGroup`, with the set-group-id bit so that new files follow. */
async function changeGroup(path: string, gid: number): Promise<void> {
  const info = await lstat(path);
  if (info.isSymbolicLink()) return;
  try {
    await chown(path, info.uid, gid);
    await chmod(path, (info.mode & 0o7777) | (info.isDirectory() ? 0o2770 : 0o660));
  } catch (error) {
    // Only root may; an ordinary user's containers all run as that user anyway.
    if (!isErrno(error, "EPERM", "EINVAL")) throw error;
  }
  if (!info.isDirectory()) return;
  for (const name of await readdir(path)) await changeGroup(join(path, name), gid);
}
