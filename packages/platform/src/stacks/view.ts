/** A live picture of a namespace's workloads and pods, kept by watches, that one or many services wait on. Empty until it is opened. */
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { sleep } from "@kws/base/retry";
import { messageOf, UserError } from "@kws/base/errors";
import { type NamespaceObjects, watchedResources } from "../services/workloads.ts";

type Key = keyof NamespaceObjects;
const keys = Object.keys(watchedResources) as Key[];

export class NamespaceView implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #namespace: string;
  readonly #stores = new Map<Key, Map<string, KubeObject>>(keys.map((key) => [key, new Map()]));
  readonly #closed = new AbortController();
  readonly #waiters = new Set<() => void>();
  readonly #loops: Promise<void>[] = [];
  #opening: Promise<void> | undefined;

  constructor(client: KubeClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  /** Resolves when everything was read once. */
  open(): Promise<void> {
    return (this.#opening ??= this.#open());
  }

  async #open(): Promise<void> {
    const versions = await Promise.all(keys.map((key) => this.#read(key)));
    for (const [index, key] of keys.entries()) this.#loops.push(this.#keep(key, versions[index] ?? ""));
  }

  /** Reads everything anew, or for the first time: what was written before this call is in the picture after it. */
  async refresh(): Promise<void> {
    if (this.#opening === undefined) return this.open();
    await this.#opening;
    await Promise.all(keys.map((key) => this.#read(key)));
    this.#notify();
  }

  objects(): NamespaceObjects {
    const entries = keys.map((key) => [key, [...(this.#stores.get(key)?.values() ?? [])]] as const);
    return Object.fromEntries(entries) as unknown as NamespaceObjects;
  }

  /** Asks after every change, and once a second for what only time brings, until there is an answer. */
  async until<T>(check: () => T | undefined | Promise<T | undefined>, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const settled = new AbortController();
      const change = this.#change(AbortSignal.any([signal, settled.signal]));
      try {
        const answer = await check();
        if (answer !== undefined) return answer;
        await change;
      } finally {
        settled.abort();
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new Error("closed"));
    await Promise.allSettled(this.#loops);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, 1000);
      signal.addEventListener("abort", done, { once: true });
      this.#waiters.add(done);
    });
  }

  #notify(): void {
    for (const waiter of this.#waiters) waiter();
  }

  async #read(key: Key): Promise<string> {
    const resource: Resource = watchedResources[key];
    const list = await this.#client.list(resource, this.#namespace, { signal: this.#closed.signal });
    this.#stores.set(
      key,
      new Map(list.items.map((object) => [object.metadata.uid ?? object.metadata.name, object])),
    );
    return list.metadata.resourceVersion;
  }

  /** Watches on; after an end or an error reads anew. The picture is then at worst as old as the pause. */
  async #keep(key: Key, from: string): Promise<void> {
    const { signal } = this.#closed;
    let version = from;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const events = this.#client.watch(watchedResources[key], this.#namespace, {
          resourceVersion: version,
          signal,
        });
        for await (const { type, object } of events) {
          if (type === "BOOKMARK") continue;
          const id = object.metadata.uid ?? object.metadata.name;
          if (type === "DELETED") this.#stores.get(key)?.delete(id);
          else this.#stores.get(key)?.set(id, object);
          failures = 0;
          this.#notify();
        }
        version = await this.#read(key);
        this.#notify();
      } catch (error) {
        if (signal.aborted) return;
        if (++failures > 20)
          throw new UserError(`the cluster stopped answering: ${messageOf(error)}`, { cause: error });
        await sleep(Math.min(100 * failures, 1000), signal).catch(() => undefined);
        version = await this.#read(key).catch(() => version);
      }
    }
  }
}
