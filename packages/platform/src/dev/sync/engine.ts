/**
 * The synchronisation as it runs: connects, compares, and then carries what changes, one transfer after the other. What both sides
 * last agreed on is the base; a side that differs from it has changed.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { silent } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import { compare } from "./compare.ts";
import { parentOf, readable } from "./entry.ts";
import { checksum, listAll } from "./far.ts";
import type { IgnoreRules } from "./ignore.ts";
import { pull } from "./pull.ts";
import { carry, push, type PushResult } from "./push.ts";
import { ConnectionLost, openSession, type Session } from "./session.ts";
import { Problems, type State } from "./state.ts";
import type { Sync, SyncBatch, SyncOptions, SyncStatus } from "./sync.ts";
import type { FolderWatcher } from "./watch.ts";

/** Milliseconds between two attempts to connect, and to transfer what failed. */
const pauses = { least: 250, most: 5000 };
/** Without a first connection for so long, it gives up. */
const firstConnection = 60_000;
/** The far side is looked at once a second, and less often where a look takes long: a hundredth of the time at most. */
const look = { every: 1000, share: 100 };

export class Engine implements Sync {
  readonly ready: Promise<SyncBatch>;
  readonly ended: Promise<void>;
  readonly #state: State;
  readonly #watcher: FolderWatcher;
  readonly #ready = Promise.withResolvers<SyncBatch>();
  /** Aborts with the reason to end: an error where it ends by itself. */
  readonly #ending = new AbortController();
  #session: Session | undefined;
  /** That of the last comparison. */
  #container: string | undefined;
  /** What was here at earlier comparisons: it is known to be removed where it is not here now. */
  readonly #known = new Set<string>();
  #doing: SyncStatus["state"] = "connecting";
  /** When the first change was seen that waits. */
  #since: number | undefined;
  /** Paths that did not arrive, and when they are tried again. */
  #failed = new Set<string>();
  #pause = pauses.least;
  #retryAt = Number.POSITIVE_INFINITY;
  #lookAt = Number.POSITIVE_INFINITY;
  #lastLook: string | undefined;
  #wake: () => void = () => {};
  #idle: (() => void)[] = [];

  constructor(options: SyncOptions, rules: IgnoreRules, watcher: FolderWatcher) {
    this.#watcher = watcher;
    this.#state = {
      options,
      rules,
      near: watcher.tree,
      log: options.log ?? silent,
      base: new Map(),
      dirty: new Set(),
      leftovers: new Set(),
      unsure: new Set(),
      conflicts: [],
      problems: new Problems((problem) => options.onProblem?.(problem)),
      emit: ({ changed, gone, ...batch }) => {
        const paths = [...changed].map(readable).sort();
        const told = { ...batch, paths, removed: [...gone].map(readable).sort() };
        this.#ready.resolve(told);
        options.onBatch?.(told);
      },
    };
    this.ready = this.#ready.promise;
    this.ended = this.#run();
    // Whoever does not wait for them is told by `onProblem`.
    this.ready.catch(() => {});
    this.ended.catch(() => {});
    if (options.signal?.aborted) void this.stop();
    else options.signal?.addEventListener("abort", () => void this.stop(), { once: true });
  }

  /** The watcher's word: these paths may differ. */
  changed(paths: string[], since: number): void {
    for (const path of paths) this.#state.dirty.add(path);
    this.#since ??= since;
    this.#wake();
  }

  /** Ends it, with an error. */
  fail(error: unknown): void {
    this.#ending.abort(error);
    this.#session?.close();
    this.#wake();
  }

  async flush(): Promise<void> {
    await this.#watcher.flush();
    if (this.#ending.signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
      if (this.#state.options.direction === "both") this.#lookAt = 0;
      this.#wake();
    });
  }

  async stop(): Promise<void> {
    if (!this.#ending.signal.aborted) this.fail(undefined);
    await this.ended.catch(() => {});
  }

  status(): SyncStatus {
    const { base, dirty, conflicts, problems } = this.#state;
    let synchronized = 0;
    for (const { near, far } of base.values()) if (near !== undefined && far !== undefined) synchronized++;
    return {
      state: this.#doing,
      synchronized,
      pending: dirty.size + this.#failed.size,
      conflicts: [...conflicts],
      problems: problems.list(),
    };
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#connected();
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof ConnectionLost)
          this.#state.log.debug("connection lost", { reason: error.message });
        else this.fail(error);
      }
      this.#session?.close();
    }
    const fault: unknown = isStop(signal.reason) ? undefined : signal.reason;
    this.#doing = "stopped";
    this.#watcher.close();
    this.#session?.close();
    for (const resolve of this.#idle.splice(0)) resolve();
    this.#ready.reject(fault ?? new Error("the synchronisation was stopped"));
    if (fault === undefined) return;
    const fix = fault instanceof UserError ? fault.fix : undefined;
    this.#state.problems.set("", messageOf(fault), fix);
    throw fault;
  }

  /** One connection, from its beginning until it is lost or the end. */
  async #connected(): Promise<void> {
    const session = await this.#connect();
    this.#session = session;
    if (session.container !== this.#container) await this.#compare(session);
    this.#container = session.container;
    if (this.#state.options.direction === "both") this.#lookAt = 0;
    void session.ended.then(() => this.#wake());
    while (!this.#ending.signal.aborted && !session.hasEnded) await this.#step(session);
  }

  async #connect(): Promise<Session> {
    const { options, problems, log } = this.#state;
    this.#doing = "connecting";
    const started = performance.now();
    for (let pause = pauses.least; ; pause = Math.min(pause * 2, pauses.most)) {
      try {
        const session = await openSession(options.remote, options.folder);
        problems.clear("");
        return session;
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        this.#ending.signal.throwIfAborted();
        const message = `no connection to ${options.remote.name}: ${error.message}`;
        if (this.#container === undefined && performance.now() - started > firstConnection) {
          throw new UserError(message, { code: "timeout", cause: error });
        }
        log.debug(message);
        problems.set("", message);
        await sleep(pause, this.#ending.signal);
      }
    }
  }

  /** Both sides anew: here decides, and what is there alone stays, unless it was removed here since. */
  async #compare(session: Session): Promise<void> {
    const { options, rules, base, dirty } = this.#state;
    this.#doing = "comparing";
    const since = performance.now();
    for (const [path, { near }] of base) if (near !== undefined) this.#known.add(path);
    dirty.clear();
    this.#failed.clear();
    const near = new Map(this.#state.near);
    const far = await listAll(session, rules, near);
    const { same, differ, farOnly } = await compare(session, options.local, near, far.tree);
    base.clear();
    for (const [path, entry] of far.tree) base.set(path, { near: undefined, far: entry });
    for (const path of same) base.set(path, { near: near.get(path), far: far.tree.get(path) });
    const inTheWay = (path: string): boolean => {
      const parent = parentOf(path);
      return parent !== "" && (near.has(parent) ? near.get(parent)?.kind !== "folder" : inTheWay(parent));
    };
    const unwanted = farOnly.filter((path) => this.#known.has(path) || inTheWay(path));
    this.#doing = "transferring";
    this.#settle(await carry(session, this.#state, [...differ, ...unwanted].sort(), since, true));
    this.#known.clear();
  }

  async #step(session: Session): Promise<void> {
    const { dirty } = this.#state;
    const now = performance.now();
    if (now >= this.#retryAt) {
      for (const path of this.#failed) dirty.add(path);
      this.#retryAt = Number.POSITIVE_INFINITY;
    }
    if (dirty.size > 0) {
      this.#doing = "transferring";
      const since = this.#since ?? now;
      this.#since = undefined;
      for (const path of dirty) this.#failed.delete(path);
      this.#settle(await push(session, this.#state, since));
      return;
    }
    if (now >= this.#lookAt) return this.#lookThere(session);
    this.#doing = "watching";
    for (const resolve of this.#idle.splice(0)) resolve();
    await this.#sleep(Math.min(this.#retryAt, this.#lookAt) - now);
  }

  #settle({ failed }: PushResult): void {
    for (const path of failed) this.#failed.add(path);
    this.#pause = failed.length === 0 ? pauses.least : Math.min(this.#pause * 2, pauses.most);
    this.#retryAt = this.#failed.size === 0 ? Number.POSITIVE_INFINITY : performance.now() + this.#pause;
  }

  async #lookThere(session: Session): Promise<void> {
    const started = performance.now();
    const sum = await checksum(session, this.#state.rules);
    const took = performance.now() - started;
    if (sum === undefined || sum !== this.#lastLook) {
      this.#doing = "transferring";
      this.#lastLook = (await pull(session, this.#state)) ? sum : undefined;
    }
    this.#lookAt = performance.now() + Math.max(look.every, took * look.share);
  }

  /** Until something has happened, or the time is over. */
  async #sleep(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (Number.isFinite(milliseconds)) timer = setTimeout(resolve, Math.max(0, milliseconds));
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }
}

/** `AbortController.abort(undefined)` makes its own reason. */
function isStop(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === "AbortError";
}
