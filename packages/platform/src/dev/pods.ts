/** The pods of a dev container as they come and go, and what each of their containers' runs writes to its log. */
import { silent } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import type { KubeObject } from "@kws/kube/object";
import { pods as podsResource } from "@kws/kube/resources";
import { listWatch } from "@kws/kube/watch";
import type { Connection } from "../providers/provider.ts";
import { devKey } from "../services/held.ts";
import { byTime, type LogLine, streamOf } from "../services/logs.ts";

export interface DevPod {
  name: string;
  uid: string;
  /** The dev container's; undefined until the kubelet says something about it. */
  restarts: number | undefined;
  running: boolean;
  ready: boolean;
  /** Why the container cannot run, in the kubelet's words. */
  fault: { reason: string; message: string } | undefined;
}

export interface PodWatchOptions {
  connection: Connection;
  service: string;
  namespace: string;
  container: string;
  signal: AbortSignal;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** Tells the newest dev pod whenever something about it changes, until the signal aborts. */
export function watchPods(
  options: PodWatchOptions,
  onChange: (pod: DevPod | undefined) => void,
): Promise<void> {
  const found = new Map<string, KubeObject>();
  const { connection, service, namespace, container, signal } = options;
  const tell = () => {
    const living = [...found.values()].filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const newest = living.toSorted((a, b) => created(b).localeCompare(created(a)))[0];
    onChange(newest === undefined ? undefined : podOf(newest, container));
  };
  const watch = { client: connection.client, resource: podsResource, namespace, logger: silent, signal };
  return listWatch(
    { ...watch, labelSelector: `${devKey}=${service}` },
    {
      replace(objects) {
        found.clear();
        for (const object of objects) found.set(object.metadata.uid ?? "", object);
        tell();
      },
      apply({ type, object }) {
        if (type === "BOOKMARK") return;
        const uid = object.metadata.uid ?? "";
        if (type === "DELETED") found.delete(uid);
        else found.set(uid, object);
        tell();
      },
    },
  );
}

const created = ({ metadata }: KubeObject) => metadata.creationTimestamp ?? "";

interface ContainerStatus {
  name: string;
  ready?: boolean;
  restartCount?: number;
  state?: { running?: object; waiting?: Reason; terminated?: Reason };
  lastState?: { terminated?: Reason };
}

interface Reason {
  reason?: string;
  message?: string;
}

/** What no waiting mends. `CrashLoopBackOff`: process 1 itself, which outlives the command, could not be started or kept. */
const hopeless =
  /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|CreateContainerConfigError|CreateContainerError|RunContainerError|StartError|CrashLoopBackOff)$/;

function podOf({ metadata, status }: KubeObject, container: string): DevPod {
  const statuses = (status?.containerStatuses ?? []) as ContainerStatus[];
  const first = (status?.initContainerStatuses ?? []) as ContainerStatus[];
  const own = statuses.find(({ name }) => name === container);
  const broken = [...first, ...(own === undefined ? [] : [own])]
    .map(({ state, lastState }) => {
      const { reason = "", message } = state?.waiting ?? state?.terminated ?? {};
      return { reason, message: message ?? lastState?.terminated?.message ?? "" };
    })
    .find(({ reason }) => hopeless.test(reason));
  return {
    name: metadata.name,
    uid: metadata.uid ?? "",
    restarts: own?.restartCount,
    running: own?.state?.running !== undefined,
    ready: own?.ready === true,
    fault: broken,
  };
}

/** The lines of one run of the container, read on where the connection was lost, until the signal aborts. */
export async function* followLog(
  { connection, service, namespace, container, signal, clock }: PodWatchOptions,
  pod: DevPod,
  tail: number | undefined,
): AsyncGenerator<LogLine> {
  const source = { service, namespace, pod: pod.name, container, restarts: pod.restarts ?? 0 };
  let last: LogLine | undefined;
  while (!signal.aborted) {
    const before = last;
    const again =
      before === undefined ? (tail === undefined ? {} : { tail }) : { sinceMs: ageOf(before, clock()) };
    try {
      for await (const line of streamOf(connection, source, { follow: true, signal, ...again })) {
        if (before !== undefined && byTime(line, before) <= 0) continue;
        last = line;
        yield line;
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof Error)) return;
    }
    await sleep(pauseMs, signal).catch(() => undefined);
  }
}

const pauseMs = 500;

/** Somewhat more than the line's age: clocks of machines differ. What comes twice is passed over. */
function ageOf({ time }: LogLine, now: number): number {
  return Math.max(0, now - Date.parse(time)) + 10_000;
}
