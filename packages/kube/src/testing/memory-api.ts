/**
 * The smallest API server that informers and controllers can be tested on without starting a real one: any resource, kept
 * in memory, with versions, watches, finalizers, graceful pod deletion and merge patches. It knows no kinds, no defaults,
 * no validation; whatever depends on those is tested against the real server.
 */
import { parseSelector, matches } from "../selector.ts";
import type { KubeObject } from "../object.ts";
import { initialEventsEnd } from "../watch.ts";
import { ApiError, apiError, type Status } from "../status.ts";
import type { Transport, TransportRequest, TransportResponse } from "../transport.ts";

interface Watcher {
  path: Path;
  query: URLSearchParams;
  send(event: object): void;
}

interface Path {
  /** `/apis/apps/v1` */
  root: string;
  resource: string;
  namespace?: string;
  name?: string;
  subresource?: string;
}

export interface MemoryApi extends Transport {
  /** Ends every open watch, as a restarting server does. */
  disconnect(): void;
  /** Requests answered so far, as `METHOD path`. */
  requests: string[];
}

export function createMemoryApi(now: () => number = Date.now): MemoryApi {
  const objects = new Map<string, KubeObject>();
  const watchers = new Set<Watcher>();
  const ends = new Set<() => void>();
  const requests: string[] = [];
  let version = 0;

  const keyOf = (path: Path): string => [path.root, path.resource, path.namespace ?? "", path.name].join("|");
  const publish = (type: string, path: Path, object: KubeObject): void => {
    for (const watcher of watchers) {
      if (isIn(watcher.path, path) && isSelected(watcher.query, object)) watcher.send({ type, object });
    }
  };
  const store = (path: Path, object: KubeObject, type: string): KubeObject => {
    version += 1;
    object.metadata.resourceVersion = String(version);
    const copy = structuredClone(object);
    objects.set(keyOf(path), copy);
    publish(type, path, copy);
    return copy;
  };
  const drop = (path: Path, object: KubeObject): void => {
    version += 1;
    objects.delete(keyOf(path));
    publish("DELETED", path, {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(version) },
    });
  };
  const find = (path: Path): KubeObject => {
    const object = objects.get(keyOf(path));
    if (object === undefined) throw apiError("NotFound", `${path.resource} "${path.name}" not found`);
    return object;
  };

  const create = (path: Path, body: KubeObject): KubeObject => {
    if (path.subresource !== undefined) return body;
    const { generateName } = body.metadata;
    const name = body.metadata.name ?? `${generateName ?? ""}${Math.random().toString(36).slice(2, 7)}`;
    const at = { ...path, name };
    if (objects.has(keyOf(at))) throw apiError("AlreadyExists", `${path.resource} "${name}" already exists`);
    const creationTimestamp = new Date(now()).toISOString();
    const metadata = {
      ...body.metadata,
      name,
      namespace: path.namespace,
      uid: crypto.randomUUID(),
      creationTimestamp,
      generation: 1,
    };
    return store(at, { ...body, metadata }, "ADDED");
  };
  const write = (path: Path, next: KubeObject): KubeObject => {
    const old = find(path);
    const asked = next.metadata.resourceVersion;
    if (asked !== undefined && asked !== old.metadata.resourceVersion) {
      throw apiError("Conflict", `${path.resource} "${path.name}": the object has been modified`);
    }
    const merged: KubeObject =
      path.subresource === "status" ? { ...old, status: next["status"] } : { ...next, status: old["status"] };
    const changed = JSON.stringify(merged["spec"]) !== JSON.stringify(old["spec"]);
    const metadata = { ...merged.metadata, generation: (old.metadata.generation ?? 1) + (changed ? 1 : 0) };
    const result: KubeObject = { ...merged, metadata };
    if (
      metadata.deletionTimestamp !== undefined &&
      (metadata.finalizers ?? []).length === 0 &&
      metadata.deletionGracePeriodSeconds === undefined
    ) {
      drop(path, result);
      return result;
    }
    return store(path, result, "MODIFIED");
  };
  const remove = (
    path: Path,
    body: { gracePeriodSeconds?: number; preconditions?: { uid?: string }; propagationPolicy?: string },
  ): KubeObject => {
    const object = find(path);
    const { metadata } = object;
    const uid = body.preconditions?.uid;
    if (uid !== undefined && uid !== metadata.uid) throw apiError("Conflict", "the uid is another");
    const finalizers = [...(metadata.finalizers ?? [])];
    if (body.propagationPolicy === "Foreground") finalizers.push("foregroundDeletion");
    if (body.propagationPolicy === "Orphan") finalizers.push("orphan");
    const grace =
      path.resource === "pods" && object["spec"]?.nodeName !== undefined
        ? (body.gracePeriodSeconds ?? 30)
        : 0;
    if (finalizers.length === 0 && grace === 0) {
      drop(path, object);
      return object;
    }
    const deletionTimestamp = metadata.deletionTimestamp ?? new Date(now()).toISOString();
    const graceful = grace === 0 ? {} : { deletionGracePeriodSeconds: grace };
    return store(
      path,
      { ...object, metadata: { ...metadata, finalizers, deletionTimestamp, ...graceful } },
      "MODIFIED",
    );
  };

  const present = (path: Path, query: URLSearchParams): KubeObject[] =>
    [...objects]
      .filter(([key, object]) => isIn(path, parseKey(key)) && isSelected(query, object))
      .map(([, object]) => object);

  const watch = (path: Path, query: URLSearchParams, signal: AbortSignal | undefined): TransportResponse => {
    const waiting: object[] = [];
    let wake = Promise.withResolvers<void>();
    let ended = false;
    const isEnded = (): boolean => ended;
    const watcher: Watcher = {
      path,
      query,
      send(event) {
        waiting.push(structuredClone(event));
        wake.resolve();
      },
    };
    if (query.get("sendInitialEvents") === "true") {
      for (const object of present(path, query)) watcher.send({ type: "ADDED", object });
      const metadata = {
        name: "",
        resourceVersion: String(version),
        annotations: { [initialEventsEnd]: "true" },
      };
      watcher.send({ type: "BOOKMARK", object: { apiVersion: "v1", kind: "Bookmark", metadata } });
    } else if (Number(query.get("resourceVersion")) !== version) {
      watcher.send({ type: "ERROR", object: apiError("Expired", "too old resource version").status });
    }
    watchers.add(watcher);
    const end = (): void => {
      ended = true;
      wake.resolve();
    };
    ends.add(end);
    signal?.addEventListener("abort", end, { once: true });
    const body = async function* (): AsyncGenerator<Uint8Array> {
      try {
        while (!isEnded()) {
          for (const event of waiting.splice(0)) yield Buffer.from(`${JSON.stringify(event)}\n`);
          if (waiting.length > 0) continue;
          await wake.promise;
          wake = Promise.withResolvers<void>();
        }
      } finally {
        watchers.delete(watcher);
        ends.delete(end);
      }
    };
    return { status: 200, headers: {}, body: body() };
  };

  const answer = (request: TransportRequest, path: Path, query: URLSearchParams): unknown => {
    const body = request.body === undefined ? undefined : (JSON.parse(String(request.body)) as KubeObject);
    switch (request.method) {
      case "GET": {
        if (path.name !== undefined) return find(path);
        const items = present(path, query);
        return { apiVersion: "v1", kind: "List", metadata: { resourceVersion: String(version) }, items };
      }
      case "POST":
        return create(path, body ?? ({} as KubeObject));
      case "PUT":
        return write(path, body ?? ({} as KubeObject));
      case "PATCH":
        return write(path, mergePatch(find(path), body) as KubeObject);
      case "DELETE":
        return remove(path, (body ?? {}) as Parameters<typeof remove>[1]);
    }
  };

  return {
    requests,
    disconnect() {
      for (const end of ends) end();
    },
    request(request) {
      const url = new URL(request.path, "http://memory");
      const path = parsePath(url.pathname);
      requests.push(`${request.method} ${url.pathname}`);
      if (url.searchParams.get("watch") === "true") {
        return Promise.resolve(watch(path, url.searchParams, request.signal));
      }
      try {
        return Promise.resolve(respond(200, structuredClone(answer(request, path, url.searchParams))));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const status: Status = error.status;
        return Promise.resolve(respond(error.code, status));
      }
    },
  };
}

function respond(status: number, value: unknown): TransportResponse {
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from(JSON.stringify(value));
  };
  return { status, headers: {}, body: body() };
}

function parsePath(pathname: string): Path {
  const parts = pathname
    .split("/")
    .filter((part) => part !== "")
    .map(decodeURIComponent);
  const root = `/${parts.splice(0, parts[0] === "api" ? 2 : 3).join("/")}`;
  const isNamespaced =
    parts[0] === "namespaces" && parts.length > 2 && parts[2] !== "status" && parts[2] !== "finalize";
  const [, namespace] = isNamespaced ? parts.splice(0, 2) : [];
  const [resource = "", name, subresource] = parts;
  return { root, resource, namespace, name, subresource };
}

function parseKey(key: string): Path {
  const [root = "", resource = "", namespace = "", name] = key.split("|");
  return { root, resource, namespace: namespace === "" ? undefined : namespace, name };
}

function isIn(scope: Path, path: Path): boolean {
  const { root, resource, namespace } = scope;
  return (
    root === path.root &&
    resource === path.resource &&
    (namespace === undefined || namespace === path.namespace)
  );
}

function isSelected(query: URLSearchParams, object: KubeObject): boolean {
  return matches(parseSelector(query.get("labelSelector") ?? ""), object.metadata.labels);
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}
