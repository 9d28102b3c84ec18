/**
 * Writes core/v1 Events about objects. The same event again counts up the one that is there (`count`, `lastTimestamp`), and
 * each object may cause a burst of 25, then one every five minutes, as client-go's EventCorrelator allows.
 */
import { randomInt } from "node:crypto";
import { messageOf } from "@kws/base/errors";
import { silent, type Logger } from "@kws/base/logger";
import type { KubeClient } from "./client.ts";
import type { KubeObject } from "./object.ts";
import { events } from "./resources.ts";

export interface EventRecorderOptions {
  client: KubeClient;
  /** Such as `deployment-controller`. */
  component: string;
  host?: string;
  now: () => number;
  logger?: Logger;
}

export interface EventRecorder {
  /** Never throws and never waits: events are best effort. */
  event(
    object: KubeObject,
    type: "Normal" | "Warning",
    reason: string,
    message: string,
    /** The part of the object that it is about: `spec.containers{app}`. */
    fieldPath?: string,
  ): void;
}

interface Known {
  name: string;
  count: number;
  /** The last write about this event; writes of one event follow each other. */
  written: Promise<void>;
}

interface Bucket {
  tokens: number;
  at: number;
}

const burst = 25;
const refillMs = 300_000;
const remembered = 4_096;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, component, host, now, logger = silent } = options;
  const known = new Map<string, Known>();
  const buckets = new Map<string, Bucket>();

  const write = async (
    entry: Known,
    object: KubeObject,
    type: string,
    reason: string,
    message: string,
    fieldPath: string | undefined,
  ) => {
    const time = new Date(now()).toISOString().replace(/\.\d+Z$/, "Z");
    const namespace = object.metadata.namespace ?? "default";
    if (entry.count > 1) {
      const patch = { count: entry.count, lastTimestamp: time, message };
      await client.patch(events, entry.name, namespace, "merge", patch);
      return;
    }
    await client.create(events, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: entry.name, namespace },
      involvedObject: { ...referenceTo(object), ...(fieldPath === undefined ? {} : { fieldPath }) },
      reason,
      message,
      type,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component, ...(host === undefined ? {} : { host }) },
      reportingComponent: component,
      reportingInstance: host ?? "",
    });
  };

  return {
    event(object, type, reason, message, fieldPath) {
      const id = object.metadata.uid ?? `${object.kind}/${object.metadata.namespace}/${object.metadata.name}`;
      if (!takeToken(buckets, id, now())) return;
      const key = [id, type, reason, message, fieldPath].join("\n");
      const entry = known.get(key) ?? {
        name: eventName(object, now()),
        count: 0,
        written: Promise.resolve(),
      };
      known.delete(key);
      known.set(key, entry);
      entry.count += 1;
      entry.written = entry.written
        .then(() => write(entry, object, type, reason, message, fieldPath))
        .catch((error: unknown) => {
          // The Event may have expired meanwhile, or its namespace is going away.
          known.delete(key);
          logger.debug("event not written", { reason, error: messageOf(error) });
        });
      evict(known);
      evict(buckets);
    },
  };
}

function referenceTo(object: KubeObject): object {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const { apiVersion, kind } = object;
  return { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }), uid, resourceVersion };
}

/**
 * `name.<time in hex nanoseconds>`, as client-go names them. The clock counts milliseconds: what is below them is drawn, so
 * that recorders that do not know of each other do not give one name twice.
 */
function eventName(object: KubeObject, now: number): string {
  const nanos = BigInt(Math.trunc(now)) * 1_000_000n + BigInt(randomInt(1_000_000));
  return `${object.metadata.name.replaceAll(":", "-")}.${nanos.toString(16)}`;
}

function takeToken(buckets: Map<string, Bucket>, id: string, now: number): boolean {
  const bucket = buckets.get(id) ?? { tokens: burst, at: now };
  bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) / refillMs);
  bucket.at = now;
  buckets.set(id, bucket);
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

function evict(map: Map<string, unknown>): void {
  const [oldest] = map.keys();
  if (map.size > remembered && oldest !== undefined) map.delete(oldest);
}
