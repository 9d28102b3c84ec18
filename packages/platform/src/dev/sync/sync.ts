/** Keeps a folder of this machine and a folder of a running container the same, for development. */
import type { Logger } from "@kws/base/logger";
import type { Remote } from "./remote.ts";

export interface SyncOptions {
  /** Absolute path of the folder on this machine. */
  local: string;
  remote: Remote;
  /** Absolute path of the folder in the container; made where it is missing. */
  folder: string;
  /** What is left out, in the syntax of .gitignore, after the defaults and .kwsignore or .dockerignore. */
  ignore?: string[];
  /** `up`: from here to the container alone. */
  direction: "up" | "both";
  /** Which side's version stays where both have changed; the other one is kept beside as `name.kws-conflict`. */
  prefer?: "local" | "remote";
  signal?: AbortSignal;
  log?: Logger;
  /** Told after changes have arrived at the other side. */
  onBatch?: (batch: SyncBatch) => void;
  /** Told when something cannot be synchronised, each time that this changes. */
  onProblem?: (problem: SyncProblem) => void;
}

export interface SyncBatch {
  direction: "up" | "down";
  /** Relative to the folder, in the order of the alphabet; those that were removed are in `removed`. */
  paths: string[];
  removed: string[];
  bytes: number;
  /** From the first event to the arrival. */
  milliseconds: number;
  /** The comparison at the start, or after the connection was lost. */
  initial: boolean;
}

export interface SyncProblem {
  /** Relative to the folder; undefined where it concerns the whole. */
  path?: string;
  message: string;
  /** What to do. */
  fix?: string;
}

export interface SyncStatus {
  state: "connecting" | "comparing" | "watching" | "transferring" | "stopped";
  /** Files, folders and links that are the same on both sides. */
  synchronized: number;
  /** Paths that wait for being transferred. */
  pending: number;
  /** Copies that were kept beside, since both sides had changed. */
  conflicts: string[];
  problems: SyncProblem[];
}

export interface Sync {
  /** Resolves once both sides have been compared and what differed has arrived; rejects where that cannot be. */
  ready: Promise<SyncBatch>;
  /** Resolves when the synchronisation has ended; rejects where it ended by itself, to prevent loss. */
  ended: Promise<void>;
  /** Resolves when everything that was changed before the call has arrived. */
  flush(): Promise<void>;
  stop(): Promise<void>;
  status(): SyncStatus;
}

/** Resolves when the local folder has been read and is watched; then it connects, see `Sync.ready`. */
export async function startSync(options: SyncOptions): Promise<Sync> {
  const [{ Engine }, { ignoreRules }, { watchFolder }] = await Promise.all([
    import("./engine.ts"),
    import("./ignore.ts"),
    import("./watch.ts"),
  ]);
  const ignore = await ignoreRules(options.local, options.ignore);
  let engine: InstanceType<typeof Engine> | undefined;
  const watcher = await watchFolder({
    root: options.local,
    ignore,
    onBatch: (paths, since) => engine?.changed(paths, since),
    onError: (error) => engine?.fail(error),
  });
  engine = new Engine(options, ignore, watcher);
  return engine;
}
