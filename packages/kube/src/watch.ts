/**
 * The list+watch loop under an informer: one request that streams the present state and then every change, begun again
 * with backoff whenever it ends. It keeps no objects; it tells a sink. No polling: an idle resource costs one open stream.
 */
import { messageOf } from "@kws/base/errors";
import { silent, type Logger } from "@kws/base/logger";
import type { KubeClient, Resource, WatchEvent } from "./client.ts";
import type { KubeObject } from "./object.ts";
import { ApiError } from "./status.ts";

/** Marks the bookmark that ends the initial events of a streaming list (k8s.io/api meta/v1 InitialEventsAnnotationKey). */
export const initialEventsEnd = "k8s.io/initial-events-end";

export interface WatchSink {
  /** The complete state at a version: whatever is missing from it no longer exists. */
  replace(objects: KubeObject[], resourceVersion: string): void;
  /** One change after the last `replace`. */
  apply(event: WatchEvent): void;
}

export interface ListWatchOptions {
  client: KubeClient;
  resource: Resource;
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  logger?: Logger;
  signal: AbortSignal;
}

const firstBackoffMs = 50;
const lastBackoffMs = 30_000;

/** Runs until the signal aborts. Failures of the server are logged and retried; the promise never rejects. */
export async function listWatch(options: ListWatchOptions, sink: WatchSink): Promise<void> {
  const { signal, logger = silent } = options;
  const state: State = { resourceVersion: undefined, streaming: true };
  let backoff = firstBackoffMs;
  while (!signal.aborted) {
    const started = performance.now();
    try {
      await (state.resourceVersion === undefined
        ? begin(options, sink, state)
        : resume(options, sink, state));
      // A stream that lived for a while ended in the ordinary way: go on at once.
      if (performance.now() - started > 1_000) backoff = firstBackoffMs;
    } catch (error) {
      if (signal.aborted) return;
      if (isExpired(error)) {
        state.resourceVersion = undefined;
        continue;
      }
      logger.debug("watch failed", { resource: options.resource.resource, error: messageOf(error) });
    }
    await pause(backoff, signal);
    backoff = Math.min(backoff * 2, lastBackoffMs);
  }
}

interface State {
  /** Where to resume; undefined when the whole state has to be read again. */
  resourceVersion: string | undefined;
  /** The server has not refused a streaming list so far. */
  streaming: boolean;
}

async function begin(options: ListWatchOptions, sink: WatchSink, state: State): Promise<void> {
  if (state.streaming) {
    try {
      await streamingList(options, sink, state);
      return;
    } catch (error) {
      // Servers without the WatchList feature answer 422 (Invalid) or 400.
      if (!(error instanceof ApiError) || ![400, 405, 422].includes(error.code)) throw error;
      state.streaming = false;
    }
  }
  const { client, resource, namespace } = options;
  const list = await client.list(resource, namespace, selection(options));
  // Items of a list carry no kind of their own on a real server.
  const kind = list.kind.replace(/List$/, "");
  const items = list.items.map((item) => ({
    ...item,
    apiVersion: item.apiVersion ?? list.apiVersion,
    kind: item.kind ?? kind,
  }));
  sink.replace(items, list.metadata.resourceVersion);
  state.resourceVersion = list.metadata.resourceVersion;
  await resume(options, sink, state);
}

async function streamingList(options: ListWatchOptions, sink: WatchSink, state: State): Promise<void> {
  const { client, resource, namespace } = options;
  const initial = new Map<string, KubeObject>();
  let complete = false;
  const watch = client.watch(resource, namespace, {
    ...selection(options),
    sendInitialEvents: true,
    allowWatchBookmarks: true,
  });
  for await (const event of watch) {
    const version = event.object.metadata.resourceVersion;
    if (complete) {
      sink.apply(event);
      state.resourceVersion = version;
    } else if (event.type === "BOOKMARK") {
      if (event.object.metadata.annotations?.[initialEventsEnd] !== "true") continue;
      complete = true;
      sink.replace([...initial.values()], version ?? "0");
      initial.clear();
      state.resourceVersion = version;
    } else {
      const key = `${event.object.metadata.namespace ?? ""}/${event.object.metadata.name}`;
      if (event.type === "DELETED") initial.delete(key);
      else initial.set(key, event.object);
    }
  }
}

async function resume(options: ListWatchOptions, sink: WatchSink, state: State): Promise<void> {
  const { client, resource, namespace } = options;
  const watch = client.watch(resource, namespace, {
    ...selection(options),
    resourceVersion: state.resourceVersion ?? "0",
    allowWatchBookmarks: true,
  });
  for await (const event of watch) {
    sink.apply(event);
    state.resourceVersion = event.object.metadata.resourceVersion;
  }
}

function selection(options: ListWatchOptions): {
  labelSelector?: string;
  fieldSelector?: string;
  signal: AbortSignal;
} {
  const { labelSelector, fieldSelector, signal } = options;
  return { labelSelector, fieldSelector, signal };
}

function isExpired(error: unknown): boolean {
  return error instanceof ApiError && error.code === 410;
}

/** Half of the time fixed, half random, so that many loops do not come back at the same moment. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms / 2 + Math.random() * (ms / 2));
  const stop = (): void => resolve();
  signal.addEventListener("abort", stop, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", stop);
}
