/**
 * A client for any resource of any API server, over a `Transport`. It knows paths, verbs and errors and nothing about
 * kinds: callers name a resource and get plain objects.
 */
import type { KubeList, KubeObject } from "./object.ts";
import { ApiError, apiError, type Status } from "./status.ts";
import type { Transport, TransportRequest } from "./transport.ts";

/** A resource as URLs name it. */
export interface Resource {
  group: string;
  version: string;
  /** The plural, lower case: `deployments`. */
  resource: string;
  namespaced: boolean;
}

export interface ListOptions {
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
  signal?: AbortSignal;
}

export interface WatchOptions extends Omit<ListOptions, "limit" | "continue"> {
  allowWatchBookmarks?: boolean;
  sendInitialEvents?: boolean;
  timeoutSeconds?: number;
}

export interface WatchEvent<T = KubeObject> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: T;
}

export interface WriteOptions {
  fieldManager?: string;
  dryRun?: boolean;
  /** `status`, `scale`, `binding`, …: write the subresource instead of the object. */
  subresource?: string;
  signal?: AbortSignal;
}

export interface ApplyOptions extends WriteOptions {
  force?: boolean;
}

export type PatchType = "json" | "merge" | "strategic";

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: "Foreground" | "Background" | "Orphan";
  preconditions?: { uid?: string; resourceVersion?: string };
  dryRun?: boolean;
  signal?: AbortSignal;
}

const patchMediaTypes: Record<PatchType, string> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};

export class KubeClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async get<T extends KubeObject = KubeObject>(
    resource: Resource,
    name: string,
    namespace?: string,
    options: { subresource?: string; signal?: AbortSignal } = {},
  ): Promise<T> {
    const path = pathOf(resource, namespace, name, options.subresource);
    return (await this.request({ method: "GET", path, signal: options.signal })) as T;
  }

  /** Like `get`, but `undefined` where there is no such object. */
  async find<T extends KubeObject = KubeObject>(
    resource: Resource,
    name: string,
    namespace?: string,
  ): Promise<T | undefined> {
    try {
      return await this.get<T>(resource, name, namespace);
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  }

  /** One page when `limit` is set, everything otherwise; without a namespace, across all of them. */
  async list<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace?: string,
    options: ListOptions = {},
  ): Promise<KubeList<T>> {
    const { signal, ...query } = options;
    const path = pathOf(resource, namespace) + toQuery(query);
    return (await this.request({ method: "GET", path, signal })) as unknown as KubeList<T>;
  }

  /** Events until the server ends the watch or the signal aborts; a server-side ERROR event is thrown as `ApiError`. */
  async *watch<T extends KubeObject = KubeObject>(
    resource: Resource,
    namespace?: string,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>> {
    const { signal, ...query } = options;
    const extra = query.sendInitialEvents ? { resourceVersionMatch: "NotOlderThan" } : {};
    const path = pathOf(resource, namespace) + toQuery({ watch: true, ...query, ...extra });
    const response = await this.#transport.request({
      method: "GET",
      path,
      headers: { accept: "application/json" },
      signal,
    });
    if (response.status !== 200) throw toError(response.status, await readText(response.body));
    for await (const line of linesOf(response.body)) {
      const event = JSON.parse(line) as WatchEvent<T> | { type: "ERROR"; object: Status };
      if (event.type === "ERROR") throw new ApiError(event.object);
      yield event;
    }
  }

  async create<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path =
      options.subresource === undefined
        ? pathOf(resource, namespace)
        : pathOf(resource, namespace, name, options.subresource);
    return (await this.#write("POST", path, object, "application/json", options)) as T;
  }

  /** Replaces the object; fails with `Conflict` when its resourceVersion is no longer current. */
  async update<T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = pathOf(resource, namespace, name, options.subresource);
    return (await this.#write("PUT", path, object, "application/json", options)) as T;
  }

  async patch<T extends KubeObject = KubeObject>(
    resource: Resource,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    patch: unknown,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = pathOf(resource, namespace, name, options.subresource);
    return (await this.#write("PATCH", path, patch, patchMediaTypes[type], options)) as T;
  }

  /** Server-side apply. */
  async apply<T extends KubeObject>(
    resource: Resource,
    object: T,
    options: ApplyOptions & { fieldManager: string },
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = pathOf(resource, namespace, name, options.subresource);
    return (await this.#write("PATCH", path, object, "application/apply-patch+yaml", options)) as T;
  }

  async delete(
    resource: Resource,
    name: string,
    namespace?: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    const { signal, dryRun, ...body } = options;
    const path = pathOf(resource, namespace, name) + toQuery({ dryRun: dryRun ? "All" : undefined });
    await this.request({
      method: "DELETE",
      path,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", ...body }),
      signal,
    });
  }

  /** Any request that answers JSON; non-2xx answers are thrown as `ApiError`. */
  async request(request: TransportRequest): Promise<KubeObject> {
    const headers = { accept: "application/json", ...request.headers };
    const response = await this.#transport.request({ ...request, headers });
    const text = await readText(response.body);
    if (response.status < 200 || response.status > 299) throw toError(response.status, text);
    return JSON.parse(text) as KubeObject;
  }

  async #write(
    method: "POST" | "PUT" | "PATCH",
    path: string,
    body: unknown,
    contentType: string,
    options: ApplyOptions,
  ): Promise<KubeObject> {
    const query = toQuery({
      fieldManager: options.fieldManager,
      dryRun: options.dryRun ? "All" : undefined,
      force: options.force,
    });
    return this.request({
      method,
      path: path + query,
      headers: { "content-type": contentType },
      body: JSON.stringify(body),
      signal: options.signal,
    });
  }
}

export function pathOf(resource: Resource, namespace?: string, name?: string, subresource?: string): string {
  const root =
    resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope =
    resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  const tail = [name, subresource].filter((part) => part !== undefined).map(encodeURIComponent);
  return [`${root}${scope}/${resource.resource}`, ...tail].join("/");
}

function toQuery(values: Record<string, string | number | boolean | undefined>): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined) query.set(key, String(value));
  }
  return query.size === 0 ? "" : `?${query.toString()}`;
}

function toError(code: number, text: string): ApiError {
  try {
    const status = JSON.parse(text) as Status;
    if (status.kind === "Status") return new ApiError(status);
  } catch {
    // Not the API server's own words: a proxy in between answered.
  }
  const error = apiError("InternalError", text.trim().slice(0, 500) || `HTTP ${code}`);
  return new ApiError({ ...error.status, code });
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    let end: number;
    while ((end = rest.indexOf("\n")) >= 0) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line.trim() !== "") yield line;
    }
  }
}
