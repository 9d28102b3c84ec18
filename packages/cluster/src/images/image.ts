/** What the rest of the cluster needs to know of an image: how to find it, run it and lay out its file system. */
import type { CredentialSource } from "@kws/oci/credentials";
import type { ImageConfig } from "@kws/oci/manifest";

export interface Image {
  /** The reference it was asked for by. */
  reference: string;
  /** Digest of the manifest, `sha256:…`. */
  digest: string;
  config: ImageConfig;
  /** Unpacked layers on disk, the lowest first; usable as overlay lower directories. */
  layers: string[];
  /** Sum of the compressed layer sizes in bytes. */
  size: number;
}

export interface ImageStore {
  /** The image by reference (`name`, `name:tag`, `name@sha256:…`) or digest, unpacked; undefined where it is not stored. */
  find(reference: string): Promise<Image | undefined>;
  list(): Promise<{ references: string[]; digest: string; size: number }[]>;
  remove(reference: string): Promise<void>;
}

export interface PullOptions {
  /** Shown to the registry before those of the user whose machine it is. */
  credentials?: CredentialSource;
  signal?: AbortSignal;
  /** Told how many bytes are here, of how many. */
  onProgress?: (bytes: number, total: number) => void;
}

/**
 * Fetches an image from its registry into the store, and answers it unpacked. Throws a `UserError` with the registry's answer.
 * What has arrived before a failure is not fetched again.
 */
export type PullImage = (reference: string, options: PullOptions) => Promise<Image>;

/** Numeric ids for an image's or a pod's user, looked up in the image's own /etc/passwd and /etc/group. */
export type ResolveUser = (
  layers: string[],
  user: string,
) => Promise<{ uid: number; gid: number; additionalGids: number[]; home: string }>;
