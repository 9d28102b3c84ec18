/**
 * Watching a folder of this machine: which paths changed, in batches. One watch for each folder that is not left out, none for
 * files; why so, and what else was measured, stands in docs/decisions/0008.
 */
import { type FSWatcher, watch } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { isErrno, UserError } from "@kws/base/errors";
import { byDepth, parentOf, type Tree, unchanged } from "./entry.ts";
import { ignoreRules, type IgnoreRules } from "./ignore.ts";
import { absolute, type Found, lookAt, scan } from "./scan.ts";

export interface WatchOptions {
  /** Absolute path of a folder. */
  root: string;
  /** Patterns in the syntax of .gitignore after the defaults, or rules that were made of them. */
  ignore?: readonly string[] | IgnoreRules;
  signal?: AbortSignal;
  /** Paths that were made, changed or removed, as bytes (see entry.ts); `since` is when the first event came, by `performance.now`. */
  onBatch(paths: string[], since: number): void;
  /** Told once when watching has ended by itself: the folder has vanished, or the kernel's limit is reached. */
  onError(error: Error): void;
  /** Told of folders that cannot be read. */
  onUnreadable?(path: string, error: Error): void;
}

export interface FolderWatcher {
  /** What is there, as of the last batch. */
  tree: Tree;
  /** Hands over at once what changed before the call. */
  flush(): Promise<void>;
  close(): void;
}

/** A batch ends when nothing happened for so long, and later where many files change at once, as by a checkout. */
const quiet = { few: 10, many: 100 };
const many = 50;
/** Milliseconds after which a batch is handed over although things go on changing. */
const patience = { few: 100, many: 2000 };
/** Events in one batch from where on everything is looked at again: the kernel drops events that nobody fetches in time. */
const flood = 4000;

/** Resolves when the folder has been read and is watched. */
export async function watchFolder(options: WatchOptions): Promise<FolderWatcher> {
  const { ignore } = options;
  const rules =
    ignore !== undefined && "ignores" in ignore ? ignore : await ignoreRules(options.root, ignore ?? []);
  options.signal?.throwIfAborted();
  if (lookAt(options.root, "")?.entry.kind !== "folder") throw vanished(options.root);
  const watcher = new Watcher(options, rules);
  try {
    await watcher.start();
  } catch (error) {
    watcher.close();
    throw error;
  }
  return watcher;
}

class Watcher implements FolderWatcher {
  readonly tree: Tree = new Map();
  readonly #options: WatchOptions;
  readonly #rules: IgnoreRules;
  /** By path, which folder it was and its watch: another folder at the same path needs another one. */
  readonly #watches = new Map<string, { identity: string; watch: FSWatcher }>();
  readonly #dirty = new Set<string>();
  #events = 0;
  #since: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Batches are made one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #closed = false;
  readonly #onAbort = () => this.close();

  constructor(options: WatchOptions, rules: IgnoreRules) {
    this.#options = options;
    this.#rules = rules;
  }

  async start(): Promise<void> {
    this.#options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    for await (const [path, { entry }] of this.#scan("")) this.tree.set(path, entry);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    for (const { watch } of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  async flush(): Promise<void> {
    // The kernel has queued the events already: they are read in the next turn of the event loop.
    await setImmediate();
    await setImmediate();
    await this.#deliver();
  }

  #scan(from: string) {
    return scan(this.#options.root, this.#rules, from, {
      onFolder: (path, identity) => this.#watch(path, identity),
      onUnreadable: (path, error) => this.#options.onUnreadable?.(path, error),
    });
  }

  #watch(path: string, identity: string): void {
    if (this.#closed || this.#watches.get(path)?.identity === identity) return;
    this.#unwatch(path);
    const folder = absolute(this.#options.root, path);
    try {
      const watcher = watch(folder, { encoding: "buffer" }, (_event, name) => {
        const text = name?.toString("latin1");
        this.#onEvent(text === undefined ? path : path === "" ? text : `${path}/${text}`);
      });
      watcher.on("error", () => this.#onEvent(path));
      this.#watches.set(path, { identity, watch: watcher });
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return;
      throw isErrno(error, "ENOSPC", "EMFILE") ? limitReached(error, this.#options.root) : error;
    }
  }

  #unwatch(path: string): void {
    this.#watches.get(path)?.watch.close();
    this.#watches.delete(path);
  }

  #onEvent(path: string): void {
    const now = performance.now();
    this.#since ??= now;
    this.#events++;
    this.#dirty.add(path);
    const size = this.#dirty.size > many ? "many" : "few";
    const wait = Math.min(quiet[size], this.#since + patience[size] - now);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#deliver(), Math.max(wait, 0));
  }

  #deliver(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      clearTimeout(this.#timer);
      if (this.#closed || this.#dirty.size === 0) return;
      const paths = [...this.#dirty].sort(byDepth);
      const since = this.#since ?? performance.now();
      const flooded = this.#events > flood;
      this.#dirty.clear();
      this.#events = 0;
      this.#since = undefined;
      try {
        // What took its place, if anything did, is not watched.
        const root = lookAt(this.#options.root, "");
        if (root?.identity !== this.#watches.get("")?.identity) throw vanished(this.#options.root);
        const changed = flooded ? await this.#rescan() : await this.#resolve(paths);
        if (changed.size > 0 && !this.#closed) this.#options.onBatch([...changed].sort(), since);
      } catch (error) {
        this.close();
        this.#options.onError(error as Error);
      }
    });
    return this.#turn;
  }

  async #resolve(paths: string[]): Promise<Set<string>> {
    const changed = new Set<string>();
    const renewed: string[] = [];
    for (const path of paths) {
      const found = this.#see(path);
      if (path === "") continue;
      const before = this.tree.get(path);
      const identity = found?.entry.kind === "folder" ? found.identity : undefined;
      if (this.#watches.get(path)?.identity !== identity) renewed.push(path);
      if (unchanged(before, found?.entry)) continue;
      changed.add(path);
      this.#set(path, found);
    }
    if (renewed.length > 0) for (const path of await this.#renew(renewed)) changed.add(path);
    return changed;
  }

  /** False below a folder that is left out or gone. */
  #known(path: string): boolean {
    const parent = parentOf(path);
    return parent === "" || this.tree.get(parent)?.kind === "folder";
  }

  #see(path: string): Found | undefined {
    const found = lookAt(this.#options.root, path);
    if (found === undefined || path === "") return found;
    return this.#known(path) && !this.#rules.ignores(path, found.entry.kind === "folder") ? found : undefined;
  }

  #set(path: string, found: Found | undefined): void {
    if (found === undefined) this.tree.delete(path);
    else this.tree.set(path, found.entry);
  }

  /** Folders that came, went or were replaced: forgets what was below them and reads what is. */
  async #renew(folders: string[]): Promise<Set<string>> {
    const roots = new Set(folders);
    const below = (path: string): boolean => {
      for (let at = parentOf(path); at !== ""; at = parentOf(at)) if (roots.has(at)) return true;
      return false;
    };
    const before: Tree = new Map();
    for (const [path, entry] of this.tree) if (below(path)) before.set(path, entry);
    for (const path of before.keys()) this.tree.delete(path);
    for (const path of this.#watches.keys()) if (roots.has(path) || below(path)) this.#unwatch(path);
    for (const folder of roots) {
      if (this.tree.get(folder)?.kind !== "folder") continue;
      for await (const [path, { entry }] of this.#scan(folder)) this.tree.set(path, entry);
    }
    const now: Tree = new Map();
    for (const [path, entry] of this.tree) if (below(path)) now.set(path, entry);
    return difference(before, now);
  }

  async #rescan(): Promise<Set<string>> {
    const before = new Map(this.tree);
    const now: Tree = new Map();
    for await (const [path, { entry }] of this.#scan("")) now.set(path, entry);
    this.tree.clear();
    for (const [path, entry] of now) this.tree.set(path, entry);
    for (const path of this.#watches.keys()) {
      if (path !== "" && now.get(path)?.kind !== "folder") this.#unwatch(path);
    }
    return difference(before, now);
  }
}

function difference(before: Tree, now: Tree): Set<string> {
  const changed = new Set<string>();
  for (const [path, entry] of now) if (!unchanged(before.get(path), entry)) changed.add(path);
  for (const path of before.keys()) if (!now.has(path)) changed.add(path);
  return changed;
}

function vanished(root: string): UserError {
  return new UserError(`the folder ${root} is not there (any more)`, {
    code: "not-found",
    fix: "Nothing was removed on the other side. Bring the folder back and start again.",
  });
}

function limitReached(error: NodeJS.ErrnoException, root: string): UserError {
  const [key, value] = error.code === "ENOSPC" ? ["max_user_watches", 524_288] : ["max_user_instances", 1024];
  return new UserError(`${root} cannot be watched: the limit fs.inotify.${key} of this machine is reached`, {
    fix:
      `Raise it: \`sudo sysctl fs.inotify.${key}=${value}\` (in /etc/sysctl.d to keep it), ` +
      "or leave out folders that need no watching in .kwsignore.",
    cause: error,
  });
}
