/** One resource's committed objects, ordered by key, with a bounded history of their changes. */
import { StorageError, type Stored, type StoreEvent } from "./stored.ts";

/** Changes remembered for watches that resume and for pages; a multiple of what a busy informer falls behind. */
const historyLength = 1_000;
/** Characters of JSON that the history holds at most, so that a few large objects that change often do not fill the memory. */
const historyWeight = 32 * 1024 * 1024;

export class Table {
  readonly listeners = new Set<(event: StoreEvent) => void>();
  readonly #byKey = new Map<string, Stored>();
  /** The values of `#byKey`, by key in code unit order: for ASCII names the order of etcd and of SQLite. */
  readonly #ordered: Stored[] = [];
  #history: StoreEvent[] = [];
  #weight = 0;
  /** Changes up to here are forgotten. */
  #forgotten: number;

  constructor(revision: number) {
    this.#forgotten = revision;
  }

  /** Adds what is on disk, in the order of the keys. */
  load(stored: Stored): void {
    this.#byKey.set(stored.key, stored);
    const last = this.#ordered.at(-1);
    if (last === undefined || last.key < stored.key) this.#ordered.push(stored);
    else this.#ordered.splice(lowerBound(this.#ordered, stored.key), 0, stored);
  }

  get(key: string): Stored | undefined {
    return this.#byKey.get(key);
  }

  list(prefix: string): Stored[] {
    return below(this.#ordered, prefix);
  }

  listAt(revision: number, prefix: string): Stored[] {
    if (revision < this.#forgotten) {
      throw new StorageError("expired", `revision ${revision} has been compacted`);
    }
    const changes = this.#history.slice(firstAfter(this.#history, revision));
    const state = new Map(this.list(prefix).map((stored) => [stored.key, stored]));
    for (const { current, previous } of changes.reverse()) {
      if (!current.key.startsWith(prefix)) continue;
      if (previous === undefined) state.delete(current.key);
      else state.set(current.key, previous);
    }
    return [...state.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Changes after a revision. */
  since(revision: number): StoreEvent[] {
    if (revision < this.#forgotten) {
      throw new StorageError("expired", `too old resource version: ${revision} (${this.#forgotten})`);
    }
    return this.#history.slice(firstAfter(this.#history, revision));
  }

  apply(event: StoreEvent): void {
    const { type, current } = event;
    const at = lowerBound(this.#ordered, current.key);
    if (type === "DELETED") {
      this.#byKey.delete(current.key);
      this.#ordered.splice(at, 1);
    } else {
      this.#byKey.set(current.key, current);
      if (type === "ADDED") this.#ordered.splice(at, 0, current);
      else this.#ordered[at] = current;
    }
    this.#remember(event);
    for (const listener of this.listeners) listener(event);
  }

  #remember(event: StoreEvent): void {
    this.#history.push(event);
    this.#weight += event.current.json.length;
    // Trimmed in halves, so that the cost of moving the rest is spread over many writes.
    if (this.#history.length <= historyLength * 2 && this.#weight <= historyWeight) return;
    const last = Math.floor(this.#history.length / 2) - 1;
    this.#forgotten = this.#history[last]?.revision ?? this.#forgotten;
    this.#history = this.#history.slice(last + 1);
    this.#weight = this.#history.reduce((sum, { current }) => sum + current.json.length, 0);
  }
}

function below(ordered: Stored[], prefix: string): Stored[] {
  if (prefix === "") return ordered.slice();
  // The first string that is greater than everything with the prefix.
  const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  return ordered.slice(lowerBound(ordered, prefix), lowerBound(ordered, end));
}

/** Index of the first element whose key is not less. */
function lowerBound(ordered: Stored[], key: string): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ordered[middle] as Stored).key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function firstAfter(history: StoreEvent[], revision: number): number {
  let low = 0;
  let high = history.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((history[middle] as StoreEvent).revision <= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}
