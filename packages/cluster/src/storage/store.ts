/**
 * The cluster's objects: all of them in memory, with the recent history that watches and pages need, and every change on
 * disk before it is answered or seen. It knows keys and revisions and nothing of kinds.
 *
 * Writes of one turn of the event loop share a transaction. Until it is committed only other writes see them (`latest`);
 * reads and watches see committed state alone, so nobody ever acts on a change that a crash could undo.
 */
import type { KubeObject } from "@kws/kube/object";
import { openDatabase, type Database, type ObjectRows } from "./database.ts";
import { clone, StorageError, type Stored, type StoreEvent } from "./stored.ts";
import { Table } from "./table.ts";

interface Pending {
  resource: string;
  event: StoreEvent;
  resolve: (stored: Stored) => void;
  reject: (error: unknown) => void;
}

export class Store {
  readonly #database: Database;
  readonly #tables = new Map<string, Table>();
  /** Newest uncommitted version by resource and key; null where it is a removal. */
  readonly #uncommitted = new Map<string, Stored | null>();
  #pending: Pending[] = [];
  #assigned: number;
  #revision: number;
  #horizon: number;
  #previousTick: number;
  #closed = false;

  /** Opens or makes the storage in a file. */
  constructor(path: string) {
    this.#database = openDatabase(path);
    this.#revision = this.#database.revision;
    this.#assigned = this.#revision;
    this.#horizon = this.#revision;
    this.#previousTick = this.#revision;
    for (const row of this.#database.rows()) {
      const object = JSON.parse(row.value) as KubeObject;
      this.#table(row.resource).load({ key: row.key, revision: row.revision, object, json: row.value });
    }
  }

  /** The last committed revision. */
  get revision(): number {
    return this.#revision;
  }

  /** The committed version. */
  get(resource: string, key: string): Stored | undefined {
    return this.#tables.get(resource)?.get(key);
  }

  /** The newest version, committed or about to be: what a write has to start from. */
  latest(resource: string, key: string): Stored | undefined {
    const uncommitted = this.#uncommitted.get(`${resource} ${key}`);
    return uncommitted === undefined ? this.get(resource, key) : (uncommitted ?? undefined);
  }

  /** Committed objects in the order of their keys; with a prefix such as `default/`, only those below it. */
  list(resource: string, prefix = ""): Stored[] {
    return this.#tables.get(resource)?.list(prefix) ?? [];
  }

  /** The list with what is about to be committed: where a write depends on what others hold, as with addresses and quotas. */
  listLatest(resource: string, prefix = ""): Stored[] {
    const committed = this.list(resource, prefix);
    if (this.#pending.length === 0) return committed;
    const latest = new Map(committed.map((stored) => [stored.key, stored]));
    for (const { resource: changed, event } of this.#pending) {
      const { key } = event.current;
      if (changed !== resource || !key.startsWith(prefix)) continue;
      if (event.type === "DELETED") latest.delete(key);
      else latest.set(key, event.current);
    }
    return [...latest.values()];
  }

  /** The list as it was at a revision; throws `expired` where that is no longer known. */
  listAt(resource: string, revision: number, prefix = ""): Stored[] {
    if (revision === this.#revision) return this.list(resource, prefix);
    if (revision > this.#revision) throw new StorageError("future", `revision ${revision} is yet to come`);
    if (revision < this.#horizon)
      throw new StorageError("expired", `revision ${revision} has been compacted`);
    return this.#tables.get(resource)?.listAt(revision, prefix) ?? [];
  }

  /** The resources that have, or had, objects. */
  resources(): string[] {
    return [...this.#tables.keys()];
  }

  /** Every committed object at one moment, with the revision of that moment. */
  all(): ObjectRows {
    const rows = [...this.#tables].flatMap(([resource, table]) =>
      table.list("").map(({ key, revision, json }) => ({ resource, key, revision, value: json })),
    );
    return { revision: this.#revision, rows };
  }

  /** Throws `exists`. The object belongs to the store from here on; its resourceVersion is set. */
  create(resource: string, key: string, object: KubeObject): Promise<Stored> {
    if (this.latest(resource, key) !== undefined)
      throw new StorageError("exists", `${resource} ${key} exists`);
    return this.#write(resource, "ADDED", key, object, undefined);
  }

  /** Replaces the version that `revision` names; throws `missing` or `conflict`. */
  update(resource: string, key: string, object: KubeObject, revision: number): Promise<Stored> {
    return this.#write(resource, "MODIFIED", key, object, this.#expect(resource, key, revision));
  }

  /** Removes the version that `revision` names; throws `missing` or `conflict`. */
  delete(resource: string, key: string, revision: number, last?: KubeObject): Promise<Stored> {
    const previous = this.#expect(resource, key, revision);
    return this.#write(resource, "DELETED", key, last ?? clone(previous), previous);
  }

  /**
   * Calls back for each change after the revision, beginning with those that are already history, before returning.
   * Throws `expired` where the history no longer reaches back that far. The answer ends the watch.
   */
  watch(resource: string, from: number, listener: (event: StoreEvent) => void): () => void {
    const table = this.#table(resource);
    for (const event of table.since(from)) listener(event);
    table.listeners.add(listener);
    return () => table.listeners.delete(listener);
  }

  /** Forgets what pages could be read at before the previous call; to be called every few minutes. */
  compact(): void {
    this.#horizon = this.#previousTick;
    this.#previousTick = this.#revision;
  }

  /** Commits what is pending, then closes the file. */
  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#database.close();
  }

  #expect(resource: string, key: string, revision: number): Stored {
    const latest = this.latest(resource, key);
    if (latest === undefined) throw new StorageError("missing", `${resource} ${key} does not exist`);
    if (latest.revision !== revision) throw new StorageError("conflict", `${resource} ${key} has changed`);
    return latest;
  }

  #write(
    resource: string,
    type: StoreEvent["type"],
    key: string,
    object: KubeObject,
    previous: Stored | undefined,
  ): Promise<Stored> {
    if (this.#closed) throw new Error("the storage is closed");
    const revision = ++this.#assigned;
    object.metadata.resourceVersion = String(revision);
    const current: Stored = { key, revision, object, json: JSON.stringify(object) };
    this.#uncommitted.set(`${resource} ${key}`, type === "DELETED" ? null : current);
    if (this.#pending.length === 0) setImmediate(() => this.#flush());
    return new Promise((resolve, reject) => {
      this.#pending.push({ resource, event: { type, revision, current, previous }, resolve, reject });
    });
  }

  #flush(): void {
    const batch = this.#pending;
    if (batch.length === 0) return;
    this.#pending = [];
    this.#uncommitted.clear();
    try {
      const rows = batch.map(({ resource, event: { type, current } }) => ({
        resource,
        key: current.key,
        revision: current.revision,
        value: type === "DELETED" ? undefined : current.json,
      }));
      this.#database.commit(rows, this.#assigned);
    } catch (error) {
      this.#assigned = this.#revision;
      for (const { reject } of batch) reject(error);
      return;
    }
    this.#revision = this.#assigned;
    for (const { resource, event } of batch) this.#table(resource).apply(event);
    for (const { event, resolve } of batch) resolve(event.current);
  }

  #table(resource: string): Table {
    let table = this.#tables.get(resource);
    if (table === undefined) {
      table = new Table(this.#horizon);
      this.#tables.set(resource, table);
    }
    return table;
  }
}
