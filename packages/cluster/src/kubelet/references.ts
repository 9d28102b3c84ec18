/** The ConfigMaps and Secrets that pods of this node refer to: each watched by name for as long as a pod needs it. */
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { Informer } from "@kws/kube/informer";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, secrets } from "@kws/kube/resources";
import type { Pod, PodContainer } from "./pod.ts";

export type ReferenceKind = "ConfigMap" | "Secret";

interface Entry {
  informer: Informer;
  users: Set<string>;
}

export class References {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #onChange: (podUid: string) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #byPod = new Map<string, Set<string>>();

  /** `onChange` is told the uid of every pod that refers to an object that has come, changed or gone. */
  constructor(client: KubeClient, logger: Logger, signal: AbortSignal, onChange: (podUid: string) => void) {
    this.#signal = signal;
    this.#client = client;
    this.#logger = logger;
    this.#onChange = onChange;
  }

  /** The object as last seen; waits for the first look at it. The pod must be tracked. */
  async get(kind: ReferenceKind, namespace: string, name: string): Promise<KubeObject | undefined> {
    const entry = this.#entries.get(`${kind}/${namespace}/${name}`);
    if (entry === undefined) return undefined;
    await entry.informer.synced();
    return entry.informer.get(name, namespace);
  }

  /** Watches what the pod refers to. */
  track(pod: Pod): void {
    const uid = pod.metadata.uid ?? "";
    const wanted = new Set(
      referencesOf(pod).map(([kind, name]) => `${kind}/${pod.metadata.namespace}/${name}`),
    );
    const had = this.#byPod.get(uid) ?? new Set();
    for (const key of wanted) if (!had.has(key)) this.#use(key, uid);
    for (const key of had) if (!wanted.has(key)) this.#release(key, uid);
    this.#byPod.set(uid, wanted);
  }

  untrack(uid: string): void {
    for (const key of this.#byPod.get(uid) ?? []) this.#release(key, uid);
    this.#byPod.delete(uid);
  }

  close(): void {
    for (const { informer } of this.#entries.values()) informer.stop();
    this.#entries.clear();
  }

  #use(key: string, uid: string): void {
    const existing = this.#entries.get(key);
    if (existing !== undefined) {
      existing.users.add(uid);
      return;
    }
    const [kind, namespace = "", name = ""] = key.split("/");
    const users = new Set([uid]);
    const tell = () => {
      for (const user of users) this.#onChange(user);
    };
    const informer = new Informer(this.#client, kind === "Secret" ? secrets : configMaps, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      logger: this.#logger,
      signal: this.#signal,
    });
    informer.subscribe({ add: tell, update: tell, delete: tell });
    this.#entries.set(key, { informer, users });
  }

  #release(key: string, uid: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.users.delete(uid);
    if (entry.users.size > 0) return;
    entry.informer.stop();
    this.#entries.delete(key);
  }
}

/** Every ConfigMap and Secret that volumes and environments name, and the Secrets that images are pulled with. */
export function referencesOf(pod: Pod): [ReferenceKind, string][] {
  const found = new Map<string, [ReferenceKind, string]>();
  const add = (kind: ReferenceKind, name: string | undefined) => {
    if (name) found.set(`${kind}/${name}`, [kind, name]);
  };
  for (const { configMap, secret, projected } of pod.spec.volumes ?? []) {
    add("ConfigMap", configMap?.name);
    add("Secret", secret?.secretName);
    for (const source of projected?.sources ?? []) {
      add("ConfigMap", source.configMap?.name);
      add("Secret", source.secret?.name);
    }
  }
  for (const { name } of pod.spec.imagePullSecrets ?? []) add("Secret", name);
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  const all: PodContainer[] = [...containers, ...initContainers, ...ephemeralContainers];
  for (const { env = [], envFrom = [] } of all) {
    for (const { valueFrom } of env) {
      add("ConfigMap", valueFrom?.configMapKeyRef?.name);
      add("Secret", valueFrom?.secretKeyRef?.name);
    }
    for (const { configMapRef, secretRef } of envFrom) {
      add("ConfigMap", configMapRef?.name);
      add("Secret", secretRef?.name);
    }
  }
  return [...found.values()];
}
