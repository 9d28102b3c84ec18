/**
 * A local copy of a resource that keeps itself current, with indexes and change handlers, and the factory by which
 * everybody in a process shares one copy per resource. Reads never touch the network.
 *
 * Writes can be shown to the copy at once (`put`, `forget`), so that a controller reads its own writes and needs no record
 * of what it expects to see: the copy compares versions and ignores what the watch already told or will tell again.
 * Comparing versions as numbers is allowed since Kubernetes 1.35 (KEP-5504).
 */
import { silent, type Logger } from "@kws/base/logger";
import type { KubeClient, Resource, WatchEvent } from "./client.ts";
import { keyOf, type KubeObject } from "./object.ts";
import { listWatch, type WatchSink } from "./watch.ts";

export interface Handlers<T> {
  add?(object: T): void;
  update?(object: T, old: T): void;
  delete?(object: T): void;
}

export type IndexFunction<T> = (object: T) => string[];

export interface InformerOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** Keeps apiVersion, kind and metadata only. */
  metadataOnly?: boolean;
  logger?: Logger;
  signal: AbortSignal;
}

interface Index<T> {
  of: IndexFunction<T>;
  keys: Map<string, Set<string>>;
}

const noNamespace = "";

/** Objects handed out are the copy itself: read them, never change them. */
export class Informer<T extends KubeObject = KubeObject> {
  readonly resource: Resource;
  readonly #items = new Map<string, T>();
  readonly #indexes = new Map<string, Index<T>>();
  readonly #handlers = new Set<Handlers<T>>();
  readonly #metadataOnly: boolean;
  readonly #synced = Promise.withResolvers<void>();
  readonly #stop = new AbortController();
  /** The newest version that the watch has told of. */
  #seen = 0;
  #hasSynced = false;

  constructor(client: KubeClient, resource: Resource, options: InformerOptions) {
    const { metadataOnly = false, signal, logger = silent, ...selection } = options;
    this.resource = resource;
    this.#metadataOnly = metadataOnly;
    this.addIndex("namespace", (object) => [object.metadata.namespace ?? noNamespace]);
    this.addIndex("owner", (object) => object.metadata.ownerReferences?.map((owner) => owner.uid) ?? []);
    const sink: WatchSink = {
      replace: (objects, version) => this.#replace(objects as T[], version),
      apply: (event) => this.#apply(event as WatchEvent<T>),
    };
    const either = AbortSignal.any([signal, this.#stop.signal]);
    // Rejects never; ends with the signal.
    void listWatch({ client, resource, logger, signal: either, ...selection }, sink);
  }

  /** Resolves once the first complete state has been read. */
  synced(): Promise<void> {
    return this.#synced.promise;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Ends the watch. The copy stays as it was. */
  stop(): void {
    this.#stop.abort();
  }

  get(name: string, namespace?: string): T | undefined {
    return this.#items.get(keyOf({ metadata: { name, namespace } }));
  }

  list(namespace?: string): T[] {
    return namespace === undefined ? [...this.#items.values()] : this.byIndex("namespace", namespace);
  }

  /** Objects with an owner of this uid, controlling or not. */
  ownedBy(uid: string | undefined): T[] {
    return uid === undefined ? [] : this.byIndex("owner", uid);
  }

  byIndex(name: string, value: string): T[] {
    const keys = this.#indexes.get(name)?.keys.get(value);
    if (keys === undefined) return [];
    const found: T[] = [];
    for (const key of keys) {
      const object = this.#items.get(key);
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** Adding an index of a known name again does nothing. */
  addIndex(name: string, of: IndexFunction<T>): void {
    if (this.#indexes.has(name)) return;
    const index: Index<T> = { of, keys: new Map() };
    this.#indexes.set(name, index);
    for (const [key, object] of this.#items) enter(index, key, object);
  }

  /** Handlers hear of every present object as an addition first. Returns a function that ends the subscription. */
  subscribe(handlers: Handlers<T>): () => void {
    for (const object of this.#items.values()) handlers.add?.(object);
    this.#handlers.add(handlers);
    return () => this.#handlers.delete(handlers);
  }

  /** Shows the copy an object that the server just answered to a write. */
  put(object: T): void {
    const version = Number(object.metadata.resourceVersion ?? 0);
    const present = this.#items.get(keyOf(object));
    // The watch told of this version or a later one already, perhaps that the object is gone.
    if (!this.#hasSynced || version <= this.#seen || versionOf(present) >= version) return;
    this.#set(object);
  }

  /** Shows the copy that the server accepted this object's deletion, until the watch tells what came of it. */
  forget(object: T, now: number): void {
    const present = this.#items.get(keyOf(object));
    if (present === undefined || present.metadata.uid !== object.metadata.uid) return;
    if (present.metadata.deletionTimestamp !== undefined) return;
    const metadata = { ...present.metadata, deletionTimestamp: new Date(now).toISOString() };
    this.#set({ ...present, metadata });
  }

  #replace(objects: T[], resourceVersion: string): void {
    const version = Number(resourceVersion);
    const present = new Set(objects.map(keyOf));
    for (const [key, old] of this.#items) {
      if (!present.has(key) && versionOf(old) <= version) this.#remove(key, old);
    }
    this.#seen = Math.max(this.#seen, version);
    for (const object of objects) {
      if (versionOf(this.#items.get(keyOf(object))) < versionOf(object)) this.#set(object);
    }
    this.#hasSynced = true;
    this.#synced.resolve();
  }

  #apply(event: WatchEvent<T>): void {
    const version = versionOf(event.object);
    this.#seen = Math.max(this.#seen, version);
    if (event.type === "BOOKMARK") return;
    const key = keyOf(event.object);
    const present = this.#items.get(key);
    if (event.type === "DELETED") {
      if (present === undefined) return;
      // A successor of the same name may have been put already.
      if (present.metadata.uid === event.object.metadata.uid) this.#remove(key, this.#strip(event.object));
      return;
    }
    if (versionOf(present) < version || isGuess(present, event.object)) this.#set(event.object);
  }

  #set(object: T): void {
    const key = keyOf(object);
    const old = this.#items.get(key);
    const next = this.#strip(object);
    for (const index of this.#indexes.values()) {
      if (old !== undefined) leave(index, key, old);
      enter(index, key, next);
    }
    this.#items.set(key, next);
    for (const handlers of this.#handlers) {
      if (old === undefined) handlers.add?.(next);
      else if (old.metadata.uid === next.metadata.uid) handlers.update?.(next, old);
      else {
        handlers.delete?.(old);
        handlers.add?.(next);
      }
    }
  }

  #remove(key: string, last: T): void {
    const old = this.#items.get(key);
    if (old !== undefined) for (const index of this.#indexes.values()) leave(index, key, old);
    this.#items.delete(key);
    for (const handlers of this.#handlers) handlers.delete?.(last);
  }

  #strip(object: T): T {
    if (!this.#metadataOnly) return object;
    const { apiVersion, kind } = object;
    const { managedFields: _, annotations: __, ...metadata } = object.metadata;
    return { apiVersion, kind, metadata } as T;
  }
}

/** True where `present` is this very version with a deletion that `forget` assumed. */
function isGuess(present: KubeObject | undefined, told: KubeObject): boolean {
  return (
    present !== undefined &&
    versionOf(present) === versionOf(told) &&
    present.metadata.deletionTimestamp !== undefined &&
    told.metadata.deletionTimestamp === undefined
  );
}

function versionOf(object: KubeObject | undefined): number {
  return object === undefined ? -1 : Number(object.metadata.resourceVersion ?? 0);
}

function enter<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.of(object)) {
    const keys = index.keys.get(value);
    if (keys === undefined) index.keys.set(value, new Set([key]));
    else keys.add(key);
  }
}

function leave<T>(index: Index<T>, key: string, object: T): void {
  for (const value of index.of(object)) {
    const keys = index.keys.get(value);
    if (keys?.delete(key) && keys.size === 0) index.keys.delete(value);
  }
}

/** One informer per resource for everybody who has this factory; all end with the signal. */
export class SharedInformers {
  readonly client: KubeClient;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #informers = new Map<string, Informer>();

  constructor(client: KubeClient, options: { logger?: Logger; signal: AbortSignal }) {
    this.client = client;
    this.#logger = options.logger ?? silent;
    this.#signal = options.signal;
  }

  /** Whole objects. */
  of<T extends KubeObject = KubeObject>(resource: Resource): Informer<T> {
    const name = nameOf(resource);
    let informer = this.#informers.get(name);
    if (informer === undefined) {
      informer = new Informer(this.client, resource, { logger: this.#logger, signal: this.#signal });
      this.#informers.set(name, informer);
    }
    return informer as unknown as Informer<T>;
  }

  /** Metadata at least: whole objects only where somebody asked for them before. */
  metadataOf(resource: Resource): Informer {
    const whole = this.#informers.get(nameOf(resource));
    if (whole !== undefined) return whole;
    const name = `${nameOf(resource)} metadata`;
    let informer = this.#informers.get(name);
    if (informer === undefined) {
      informer = new Informer(this.client, resource, {
        metadataOnly: true,
        logger: this.#logger,
        signal: this.#signal,
      });
      this.#informers.set(name, informer);
    }
    return informer;
  }

  /** Ends a metadata watch, such as when its CustomResourceDefinition is gone. */
  drop(resource: Resource): void {
    const name = `${nameOf(resource)} metadata`;
    this.#informers.get(name)?.stop();
    this.#informers.delete(name);
  }

  /** Resolves once all informers asked for so far have their first complete state. */
  async synced(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced()));
  }
}

function nameOf(resource: Resource): string {
  return `${resource.resource}.${resource.version}.${resource.group}`;
}
