/** Keeping a cluster as it is, and bringing it back: what providers can, and what those say that cannot. */
import { UserError } from "@kws/base/errors";
import type { ProviderName } from "../project/provider-names.ts";
import type { BuildContext, ProviderStatus } from "./provider.ts";

/** A cluster as it was: objects, the data of its volumes, and its images. */
export interface Snapshot {
  /** The version of what a snapshot is on disk. */
  format: 1;
  name: string;
  /** The cluster that it was taken of. */
  cluster: string;
  /** RFC 3339. */
  takenAt: string;
  /** Kubernetes version of the cluster. */
  version: string;
  /** Of the images, in Go's names: `amd64`. */
  architecture: string;
  objects: number;
  /** Folders of data. */
  volumes: number;
  /** On disk. */
  volumeBytes: number;
  images: number;
  /** They take no more room as long as the image store has them too. */
  imageBytes: number;
  /** For how long the pods stood still, in milliseconds; 0 where the cluster did not run. */
  pausedMs: number;
}

export interface Snapshots {
  take(options: TakeOptions): Promise<Snapshot>;
  /** Replaces all that the cluster holds, and starts it; makes it where there is none. */
  restore(options: RestoreOptions): Promise<RestoredCluster>;
}

export interface TakeOptions extends BuildContext {
  name: string;
  /** A file to write it to as well. */
  archive?: string;
  /** False where the file is all that is wanted. */
  keep: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

export interface RestoreOptions extends BuildContext {
  /** The name of a snapshot, or the path of an archive. */
  from: { snapshot: string } | { archive: string };
}

export interface RestoredCluster {
  snapshot: Snapshot;
  cluster: ProviderStatus;
  /** Names that stand for other images than they did before, for all clusters that share the image store. */
  renamedImages: string[];
}

/** For providers whose clusters cannot be kept. */
export function noSnapshots(provider: ProviderName, why: string): never {
  throw new UserError(`clusters of ${provider} have no snapshots: ${why}`, {
    code: "usage",
    fix: "Use the embedded cluster: --provider embedded.",
  });
}
