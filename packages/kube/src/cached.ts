/**
 * A resource as a controller handles it: reads from the shared local copy, writes to the API server that the copy learns of
 * at once. A reconciler that runs again right after a write therefore sees it and never creates anything twice.
 */
import type { DeleteOptions, KubeClient, PatchType, Resource, WriteOptions } from "./client.ts";
import type { Informer } from "./informer.ts";
import type { KubeObject } from "./object.ts";
import { ApiError } from "./status.ts";

export class CachedResource<T extends KubeObject = KubeObject> {
  readonly informer: Informer<T>;
  readonly resource: Resource;
  readonly #client: KubeClient;
  readonly #now: () => number;

  constructor(client: KubeClient, informer: Informer<T>, now: () => number) {
    this.#client = client;
    this.informer = informer;
    this.resource = informer.resource;
    this.#now = now;
  }

  get(name: string, namespace?: string): T | undefined {
    return this.informer.get(name, namespace);
  }

  list(namespace?: string): T[] {
    return this.informer.list(namespace);
  }

  ownedBy(uid: string | undefined): T[] {
    return this.informer.ownedBy(uid);
  }

  async create(object: T, options?: WriteOptions): Promise<T> {
    return this.#show(await this.#client.create(this.resource, object, options));
  }

  /** Replaces the object; a `Conflict` means that the copy was stale. */
  async update(object: T): Promise<T> {
    return this.#show(await this.#client.update(this.resource, object));
  }

  /** Replaces the status, unless it is the same already. `object` carries the version that the status was computed from. */
  async updateStatus(object: T, status: object): Promise<T> {
    if (isSame(object["status"] ?? {}, status)) return object;
    const next = { ...object, status: withoutUndefined(status) };
    return this.#show(await this.#client.update(this.resource, next, { subresource: "status" }));
  }

  async patch(
    object: { metadata: { name: string; namespace?: string } },
    type: PatchType,
    patch: unknown,
    options?: WriteOptions,
  ): Promise<T> {
    const { name, namespace } = object.metadata;
    return this.#show(await this.#client.patch<T>(this.resource, name, namespace, type, patch, options));
  }

  /** Deletes this very object, not a successor of the same name; one that is gone already is fine. */
  async delete(object: T, options: DeleteOptions = {}): Promise<void> {
    const { name, namespace, uid } = object.metadata;
    try {
      await this.#client.delete(this.resource, name, namespace, { preconditions: { uid }, ...options });
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return;
      throw error;
    }
    this.informer.forget(object, this.#now());
  }

  #show(object: T): T {
    this.informer.put(object);
    return object;
  }
}

/** Equality of JSON values where an absent field equals an undefined one. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => isSame(item, b[index]));
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (!isSame(left[key], right[key])) return false;
  }
  return true;
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}
