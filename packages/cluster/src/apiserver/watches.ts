/**
 * The verb `watch`: a stream of changes from a version on, bookmarks, and initial lists sent as events.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
import { messageOf } from "@kws/base/errors";
import { ApiError, apiError, type Status } from "@kws/kube/status";
import { StorageError, type Stored, type StoreEvent } from "../storage/stored.ts";
import type { ServerContext } from "./context.ts";
import { ensureForms } from "./conversion.ts";
import { expired } from "./failures.ts";
import { refuseFuture, versionParameter, type Target } from "./reads.ts";
import { apiVersionOf, tableOf } from "./registry.ts";
import { renderingOf, type Rendering } from "./rendering.ts";
import type { ApiResponse } from "./request.ts";
import { selectionOf, type Selection } from "./selection.ts";

/** How often a watch that asked for bookmarks gets one. */
const bookmarkInterval = 30_000;
/** Events that a client may lag behind before its watch is ended; it then lists again. */
const queueLimit = 10_000;
/** The same in bytes. */
const queueBytes = 128 * 1024 * 1024;
/** What is given to the connection at once, so that not all that waits is copied. */
const pieceBytes = 1024 * 1024;
/** As upstream's default: between 30 and 60 minutes. */
const defaultTimeoutSeconds = 30 * 60;

export function watch(context: ServerContext, target: Target): ApiResponse {
  const { definition, path, request } = target;
  const { query } = request;
  const rendering = renderingOf(request, definition, context.now);
  const selection = selectionOf(definition, query);
  const sendInitialEvents = query.get("sendInitialEvents");
  checkInitialEvents(sendInitialEvents, query);
  const since = versionParameter(query.get("resourceVersion"));
  refuseFuture(context, since);
  const prefix = path.namespace === undefined ? "" : `${path.namespace}/`;
  const stream = new EventStream(request.signal);
  const push = (type: string, stored: Stored): void => stream.push(frame(rendering, type, stored));
  let sent = Promise.resolve();
  // Where a webhook makes the forms, changes wait for those before them.
  const inOrder = (show: () => void, ...needed: Stored[]): void => {
    if (definition.conversion === undefined) return show();
    sent = sent
      .then(() => ensureForms(context, definition, needed))
      .then(show)
      .catch((error: unknown) => stream.fail(error));
  };
  const send = (type: string, stored: Stored): void => inOrder(() => push(type, stored), stored);
  const bookmarks = query.get("allowWatchBookmarks") === "true" || query.get("allowWatchBookmarks") === "1";
  const bookmark = (annotations?: Record<string, string>): void => {
    const metadata = {
      resourceVersion: String(context.store.revision),
      creationTimestamp: null,
      annotations,
    };
    const object = { kind: definition.kind, apiVersion: apiVersionOf(definition), metadata };
    const text = rendering.bookmark?.(object) ?? JSON.stringify(object);
    inOrder(() => stream.push(`{"type":"BOOKMARK","object":${text}}\n`));
  };

  // Without a version, and from 0, the present state comes first; `sendInitialEvents` says so outright.
  const initial =
    sendInitialEvents === "true" || (sendInitialEvents === null && (since === undefined || since === 0));
  const table = tableOf(definition);
  const from = initial || since === undefined || since === 0 ? context.store.revision : since;
  if (initial) {
    for (const stored of context.store.list(table, prefix)) {
      if (selection.all || selection.selects(stored.object)) send("ADDED", stored);
    }
    if (sendInitialEvents === "true" && bookmarks) bookmark({ "k8s.io/initial-events-end": "true" });
  }
  try {
    const stop = context.store.watch(table, from, (event) => {
      if (!event.current.key.startsWith(prefix)) return;
      const type = seenAs(event, selection);
      if (type === undefined) return;
      // An object that leaves the selection is shown as it was last selected, at the version of the change.
      send(type, type === "DELETED" && event.type !== "DELETED" ? leaving(event) : event.current);
    });
    stream.onEnd(stop);
  } catch (error) {
    if (!(error instanceof StorageError) || error.reason !== "expired") throw error;
    throw expired(error.message);
  }
  const ends = setTimeout(() => stream.end(), (timeoutSeconds(query) ?? defaultTimeoutSeconds) * 1000);
  const ticks = bookmarks ? setInterval(bookmark, bookmarkInterval) : undefined;
  const gone = context.onResourceGone(definition, () => stream.end());
  stream.onEnd(() => {
    clearTimeout(ends);
    clearInterval(ticks);
    gone();
  });
  return {
    status: 200,
    headers: { "content-type": "application/json", "cache-control": "no-cache, private" },
    body: stream,
  };
}

function checkInitialEvents(sendInitialEvents: string | null, query: URLSearchParams): void {
  const match = query.get("resourceVersionMatch") || undefined;
  const refuse = (message: string): never => {
    throw apiError("Invalid", `ListOptions.meta.k8s.io "" is invalid: ${message}`, {
      group: "meta.k8s.io",
      kind: "ListOptions",
      causes: [{ reason: "FieldValueForbidden", message }],
    });
  };
  if (sendInitialEvents === null && match !== undefined) {
    refuse(
      "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
    );
  }
  if (sendInitialEvents !== null && match !== "NotOlderThan") {
    refuse(
      "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
    );
  }
}

/** What a change is to someone who sees only selected objects; undefined where it is nothing. */
function seenAs(event: StoreEvent, selection: Selection): StoreEvent["type"] | undefined {
  if (selection.all) return event.type;
  const before = event.previous !== undefined && selection.selects(event.previous.object);
  if (event.type === "DELETED")
    return before || selection.selects(event.current.object) ? "DELETED" : undefined;
  const now = selection.selects(event.current.object);
  if (now) return before ? "MODIFIED" : "ADDED";
  return before ? "DELETED" : undefined;
}

function leaving({ previous, current, revision }: StoreEvent): Stored {
  const last = previous ?? current;
  const metadata = { ...last.object.metadata, resourceVersion: String(revision) };
  const object = { ...last.object, metadata };
  return { key: current.key, revision, object, json: JSON.stringify(object) };
}

/** Frames of the plain rendering, shared by all watches of an object's version. */
const frames = new WeakMap<Stored, Map<string, Buffer>>();

function frame(rendering: Rendering, type: string, stored: Stored): Buffer {
  const make = (): Buffer => Buffer.from(`{"type":"${type}","object":${rendering.object(stored)}}\n`);
  if (!rendering.shared) return make();
  let byType = frames.get(stored);
  if (byType === undefined) frames.set(stored, (byType = new Map()));
  const key = `${type} ${rendering.shared}`;
  let bytes = byType.get(key);
  if (bytes === undefined) byType.set(key, (bytes = make()));
  return bytes;
}

function timeoutSeconds(query: URLSearchParams): number | undefined {
  const seconds = Number(query.get("timeoutSeconds") ?? "");
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 2_000_000) : undefined;
}

/** The last line of a watch that cannot go on. */
function errorFrame(status: Status): string {
  return `${JSON.stringify({ type: "ERROR", object: status })}\n`;
}

/** A queue of chunks that is pushed to from one side and iterated on the other. */
class EventStream implements AsyncIterable<string | Uint8Array> {
  #chunks: (string | Uint8Array)[] = [];
  #waiting = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #cleanups: (() => void)[] = [];

  constructor(signal: AbortSignal) {
    if (signal.aborted) this.#ended = true;
    const end = (): void => this.end();
    signal.addEventListener("abort", end, { once: true });
    this.#cleanups.push(() => signal.removeEventListener("abort", end));
  }

  push(chunk: string | Uint8Array): void {
    if (this.#ended) return;
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    if (this.#chunks.length > queueLimit || this.#waiting > queueBytes) {
      this.#chunks = [errorFrame(expired("too many events are waiting; list again").status)];
      this.end();
    }
    this.#wake?.();
  }

  /** The last thing that the client sees. */
  fail(error: unknown): void {
    const { status } = error instanceof ApiError ? error : apiError("InternalError", messageOf(error));
    this.push(errorFrame(status));
    this.end();
  }

  /** Runs when the stream has ended, at once where it has already. */
  onEnd(cleanup: () => void): void {
    if (this.#ended) cleanup();
    else this.#cleanups.push(cleanup);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const cleanup of this.#cleanups) cleanup();
    this.#wake?.();
  }

  #take(): (string | Uint8Array)[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#chunks.length && bytes < pieceBytes) bytes += this.#chunks[count++]?.length ?? 0;
    this.#waiting -= bytes;
    return this.#chunks.splice(0, count);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string | Uint8Array> {
    try {
      for (;;) {
        const chunks = this.#take();
        if (chunks.length > 0) yield join(chunks);
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.end();
    }
  }
}

function join(chunks: (string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(chunks.map((chunk) => (typeof chunk === "string" ? Buffer.from(chunk) : chunk)));
}
