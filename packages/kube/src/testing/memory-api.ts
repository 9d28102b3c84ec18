/**
 * The smallest API server that informers and locks can be tested on where the real one may not be imported: any resource,
 * kept in memory, with versions, watches and merge patches. It knows no kinds, no defaults, no validation, no
 * subresources; whatever depends on those is tested against the real server.
 */
import { parseSelector, matches } from "../selector.ts";
import type { KubeObject } from "../object.ts";
import { initialEventsEnd } from "../watch.ts";
import { ApiError, apiError } from "../status.ts";
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
}

export interface MemoryApi extends Transport {
  /** Ends every open watch, as a restarting server does. */
  disconnect(): void;
}

export function createMemoryApi(): MemoryApi {
  const objects = new Map<string, KubeObject>();
  const watchers = new Set<Watcher>();
  const ends = new Set<() => void>();
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
    const { name } = body.metadata;
    const at = { ...path, name };
    if (objects.has(keyOf(at))) throw apiError("AlreadyExists", `${path.resource} "${name}" already exists`);
    const metadata = { ...body.metadata, namespace: path.namespace, uid: crypto.randomUUID() };
    return store(at, { ...body, metadata }, "ADDED");
  };
  const write = (path: Path, next: KubeObject): KubeObject => {
    const old = find(path);
    const asked = next.metadata.resourceVersion;
    if (asked !== undefined && asked !== old.metadata.resourceVersion) {
      throw apiError("Conflict", `${path.resource} "${path.name}": the object has been modified`);
    }
    return store(path, { ...next, metadata: { ...next.metadata } }, "MODIFIED");
  };
  const remove = (path: Path, body: { preconditions?: { uid?: string } }): KubeObject => {
    const object = find(path);
    const uid = body.preconditions?.uid;
    if (uid !== undefined && uid !== object.metadata.uid) throw apiError("Conflict", "the uid is another");
    drop(path, object);
    return object;
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
    disconnect() {
      for (const end of ends) end();
    },
    request(request) {
      const url = new URL(request.path, "http://memory");
      const path = parsePath(url.pathname);
      if (url.searchParams.get("watch") === "true") {
        return Promise.resolve(watch(path, url.searchParams, request.signal));
      }
      try {
        return Promise.resolve(respond(200, structuredClone(answer(request, path, url.searchParams))));
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        return Promise.resolve(respond(error.code, error.status));
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
  const [, namespace] = parts[0] === "namespaces" && parts.length > 2 ? parts.splice(0, 2) : [];
  const [resource = "", name] = parts;
  return { root, resource, namespace, name };
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
