/** What every part of the API server works with, handed down from `server.ts`. */
import type { Logger } from "@kws/base/logger";
import type { NodeStreams } from "../kubelet/streams.ts";
import type { Store } from "../storage/store.ts";
import type { Authorizer } from "./authorization.ts";
import type { Registry } from "./registry.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import type { TokenIssuer } from "./tokens.ts";

export interface ServerContext {
  store: Store;
  registry: Registry;
  authorizer: Authorizer;
  tokens: TokenIssuer;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Calls back when a custom resource is no longer served, or served differently. Answers a function that unsubscribes. */
  onResourceGone(definition: ResourceDefinition, listener: () => void): () => void;
  /** Undefined while no node is there to ask. */
  streams: () => NodeStreams | undefined;
  /** In Prometheus' text; undefined while there is no Ingress. */
  ingressMetrics: () => string | undefined;
}

/** RFC 3339 with whole seconds, as all `metav1.Time` fields are. */
export function timestamp(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`;
}
