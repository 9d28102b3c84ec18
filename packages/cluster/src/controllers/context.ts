/** What every controller is given, and the shape in which each controller describes itself. */
import { CachedResource } from "@kws/kube/cached";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { ControllerOptions, WatchSource } from "@kws/kube/controller";
import { createEventRecorder, type EventRecorder } from "@kws/kube/events";
import type { SharedInformers } from "@kws/kube/informer";
import type { KubeObject, ObjectMeta } from "@kws/kube/object";
import type { Logger } from "@kws/base/logger";
import type { CertificateSigner } from "../apiserver/signing.ts";
import type { Standstill } from "../standstill.ts";

export interface ControllerContext {
  client: KubeClient;
  informers: SharedInformers;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  signal: AbortSignal;
  /** PEM of the authority that signs the API server's certificate. */
  rootCa: string;
  /** Signs certificates with that authority. */
  sign: CertificateSigner;
  /** Where provisioned volumes are folders. */
  volumesDir: string;
  standstill: Standstill;
  /** The resource through the shared copy. */
  resource<T extends KubeObject = KubeObject>(resource: Resource): CachedResource<T>;
  /** Writes Events as this component. */
  recorder(component: string): EventRecorder;
}

/** One controller: what it looks at and how it brings one named object in order. */
export type Controller = Pick<ControllerOptions, "name" | "watches" | "reconcile" | "concurrency" | "queue">;

export type ContextOptions = Omit<ControllerContext, "resource" | "recorder">;

export function createContext(options: ContextOptions): ControllerContext {
  const { client, informers, now, logger } = options;
  return {
    ...options,
    resource: <T extends KubeObject>(resource: Resource) =>
      new CachedResource<T>(client, informers.of<T>(resource), now),
    recorder: (component) => createEventRecorder({ client, component, now, logger }),
  };
}

/** A source over any cached resource. */
export function watch<T extends KubeObject>(
  cached: CachedResource<T>,
  keys?: (object: T) => string[],
  filter?: (object: T, old: T) => boolean,
): WatchSource {
  return { informer: cached.informer, keys, filter } as unknown as WatchSource;
}

/** Maps an object to its controlling owner of the given kind. */
export function byController(kind: string): (object: KubeObject) => string[] {
  return ({ metadata }) => {
    const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
    return owner?.kind === kind ? [`${metadata.namespace ?? ""}/${owner.name}`] : [];
  };
}

/** RFC 3339 in whole seconds, as metav1.Time is written. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** Metadata of an object that the server is to name from its `generateName`. */
export function unnamed(metadata: Omit<ObjectMeta, "name">): ObjectMeta {
  return metadata as ObjectMeta;
}
