/** What the storage holds and what it says: versions of objects, their changes, and why a write or a read was refused. */
import type { KubeObject } from "@kws/kube/object";

/** One version of an object. Never changed once made: whoever wants another makes it from `clone`. */
export interface Stored {
  /** `namespace/name`, or the name alone where there are no namespaces. */
  key: string;
  revision: number;
  object: KubeObject;
  /** The object as JSON, made once and used for the disk, answers, lists and watches. */
  json: string;
}

export interface StoreEvent {
  type: "ADDED" | "MODIFIED" | "DELETED";
  revision: number;
  /** For DELETED, the last state with the revision of the deletion. */
  current: Stored;
  previous?: Stored;
}

export class StorageError extends Error {
  override name = "StorageError";
  readonly reason: "exists" | "missing" | "conflict" | "expired" | "future";

  constructor(reason: StorageError["reason"], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A fresh, mutable copy. */
export function clone(stored: Stored): KubeObject {
  return JSON.parse(stored.json) as KubeObject;
}
