/**
 * The loop of a controller: keys come from watches, a reconciler brings what the key names to where it should be, failures
 * come back with backoff. The reconciler gets a name and reads everything else afresh.
 */
import { messageOf } from "@kws/base/errors";
import { silent, type Logger } from "@kws/base/logger";
import type { Informer } from "./informer.ts";
import { keyOf, type KubeObject } from "./object.ts";
import { WorkQueue } from "./queue.ts";
import { ApiError } from "./status.ts";

export interface Request {
  /** Absent for cluster-scoped objects. */
  namespace?: string;
  name: string;
}

export interface Result {
  /** Come back after so many milliseconds even if nothing changes. */
  requeueAfter?: number;
}

/** Trying again cannot help until the object changes. */
export class TerminalError extends Error {
  override name = "TerminalError";
}

/** What makes a controller look: every change of the informer's objects adds the keys that the object maps to. */
export interface WatchSource<T extends KubeObject = KubeObject> {
  informer: Informer<T>;
  /** The object's own key unless given. On an update it is asked for the old and the new object. */
  keys?(object: T): string[];
  /** False leaves an update out. */
  filter?(object: T, old: T): boolean;
}

export interface ControllerOptions {
  name: string;
  /** Keys may also be added from outside. */
  queue?: WorkQueue;
  watches?: WatchSource[];
  reconcile(request: Request): Promise<Result | void>;
  /** Keys worked on at a time; one key never twice at a time. */
  concurrency?: number;
  logger?: Logger;
  signal: AbortSignal;
}

/** Waits for its watches' first state, then works until the signal aborts; resolves when the last reconciliation ended. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { queue = new WorkQueue(), watches = [], signal, concurrency = 2 } = options;
  const ends = watches.map((watch) => enqueueFrom(watch, queue));
  const close = (): void => {
    for (const end of ends) end();
    queue.close();
  };
  if (signal.aborted) close();
  signal.addEventListener("abort", close, { once: true });
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await Promise.race([aborted, Promise.all(watches.map((watch) => watch.informer.synced()))]);
  await Promise.all(Array.from({ length: concurrency }, () => work(options, queue)));
}

function enqueueFrom({ informer, keys = ownKey, filter }: WatchSource, queue: WorkQueue): () => void {
  const add = (object: KubeObject): void => {
    for (const key of keys(object)) queue.add(key);
  };
  return informer.subscribe({
    add,
    update(object, old) {
      if (filter !== undefined && !filter(object, old)) return;
      add(old);
      add(object);
    },
    delete: add,
  });
}

function ownKey(object: KubeObject): string[] {
  return [keyOf(object)];
}

async function work(options: ControllerOptions, queue: WorkQueue): Promise<void> {
  const logger = options.logger ?? silent;
  for (let key = await queue.next(); key !== undefined; key = await queue.next()) {
    try {
      const result = await options.reconcile(requestOf(key));
      queue.forget(key);
      if (result?.requeueAfter !== undefined) queue.addAfter(key, result.requeueAfter);
    } catch (error) {
      if (options.signal.aborted) return;
      const fields = { controller: options.name, key, error: messageOf(error) };
      if (error instanceof TerminalError) {
        logger.warn("gave up", fields);
        queue.forget(key);
      } else {
        // A conflict or a vanished namespace means that somebody else was quicker: the next look sees it.
        if (isRace(error)) logger.debug("retrying", fields);
        else
          logger.warn("failed, retrying", {
            ...fields,
            ...(error instanceof ApiError ? {} : { stack: stackOf(error) }),
          });
        queue.addRateLimited(key);
      }
    } finally {
      queue.done(key);
    }
  }
}

function isRace(error: unknown): boolean {
  return error instanceof ApiError && [403, 404, 409].includes(error.code);
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}

/** The inverse of `keyOf`. */
export function requestOf(key: string): Request {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
