/** Events about pods: written in the background, repeated ones counted instead of piled up. */
import { randomBytes } from "node:crypto";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { events } from "@kws/kube/resources";

export interface EventRecorder {
  /** `container` is the name of the one container that it is about. */
  record(object: KubeObject, type: "Normal" | "Warning", reason: string, message: string, fieldPath?: string): void;
}

interface Seen {
  name: string;
  count: number;
}

export function createRecorder(
  client: KubeClient,
  component: string,
  host: string,
  logger: Logger,
): EventRecorder {
  const seen = new Map<string, Seen>();
  // One write at a time keeps the events in their order.
  let queue = Promise.resolve();

  async function write(
    object: KubeObject,
    type: string,
    reason: string,
    message: string,
    fieldPath: string | undefined,
    time: string,
  ): Promise<void> {
    const { name, namespace = "default", uid, resourceVersion } = object.metadata;
    const key = [uid, reason, message, fieldPath].join("\0");
    const before = seen.get(key);
    if (before !== undefined) {
      const count = before.count + 1;
      seen.set(key, { ...before, count });
      await client.patch(events, before.name, namespace, "merge", { count, lastTimestamp: time });
      return;
    }
    const eventName = `${name}.${randomBytes(8).toString("hex")}`;
    seen.set(key, { name: eventName, count: 1 });
    const [oldest] = seen.keys();
    if (seen.size > 1000 && oldest !== undefined) seen.delete(oldest);
    const { apiVersion, kind } = object;
    await client.create(events, {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: eventName, namespace },
      involvedObject: { apiVersion, kind, name, namespace, uid, resourceVersion, fieldPath },
      reason,
      message,
      type,
      source: { component, host },
      reportingComponent: component,
      reportingInstance: host,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    });
  }

  return {
    record(object, type, reason, message, fieldPath) {
      const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
      queue = queue
        .then(() => write(object, type, reason, message, fieldPath, time))
        // An event that cannot be written (its namespace is going away) is not worth failing for.
        .catch((error: unknown) => logger.debug("event not written", { reason, error: messageOf(error) }));
    },
  };
}
