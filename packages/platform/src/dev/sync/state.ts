/** What a synchronisation knows, shared by both directions. */
import type { Logger } from "@kws/base/logger";
import { type Entry, readable, type Tree } from "./entry.ts";
import type { IgnoreRules } from "./ignore.ts";
import type { SyncBatch, SyncOptions, SyncProblem } from "./sync.ts";

/** What both sides last agreed on. A side without an entry has nothing there. */
export interface Agreed {
  near: Entry | undefined;
  /** Not kept up to date where changes go up alone. */
  far: Entry | undefined;
}

export interface State {
  options: SyncOptions;
  rules: IgnoreRules;
  log: Logger;
  /** This side, as its watcher last saw it. */
  near: Tree;
  base: Map<string, Agreed>;
  /** Paths on this side that may differ from the base. */
  dirty: Set<string>;
  /** Folders that were removed here and are left there, since something that is not synchronised is in them. */
  leftovers: Set<string>;
  /** Paths whose transfer to the far side did not come to its end: what is there is ours, whole or in part. */
  unsure: Set<string>;
  conflicts: string[];
  problems: Problems;
  emit(
    batch: Omit<SyncBatch, "paths" | "removed"> & { changed: Iterable<string>; gone: Iterable<string> },
  ): void;
}

/** What cannot be synchronised, by path; tells of each once, until it is mended. */
export class Problems {
  readonly #byPath = new Map<string, SyncProblem>();
  readonly #tell: (problem: SyncProblem) => void;

  constructor(tell: (problem: SyncProblem) => void) {
    this.#tell = tell;
  }

  /** The path `""` stands for the whole. */
  set(path: string, message: string, fix?: string): void {
    if (this.#byPath.get(path)?.message === message) return;
    const problem: SyncProblem = { message };
    if (path !== "") problem.path = readable(path);
    if (fix !== undefined) problem.fix = fix;
    this.#byPath.set(path, problem);
    this.#tell(problem);
  }

  clear(path: string): void {
    this.#byPath.delete(path);
  }

  list(): SyncProblem[] {
    return [...this.#byPath.values()];
  }
}
