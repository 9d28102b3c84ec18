/** The logs of one or many services: read from all of their containers at once and merged by time. */
import type { KubeObject } from "@kws/kube/object";
import { pods as podsResource } from "@kws/kube/resources";
import { ApiError, isApiError } from "@kws/kube/status";
import { pathOf } from "@kws/kube/client";
import { UserError } from "@kws/base/errors";
import type { Connection } from "../providers/provider.ts";
import type { Release } from "./releases.ts";
import { allPods, readNamespace } from "./workloads.ts";

export interface LogLine {
  /** RFC 3339, as the container runtime wrote it. */
  time: string;
  service: string;
  pod: string;
  container: string;
  text: string;
}

export interface LogOptions {
  follow?: boolean;
  previous?: boolean;
  sinceMs?: number;
  /** Lines of each container. */
  tail?: number;
  container?: string;
  signal?: AbortSignal;
}

/** One container, in one of its runs. */
export interface LogSource {
  service: string;
  namespace: string;
  pod: string;
  container: string;
  /** Which of the container's runs in this pod. */
  restarts: number;
}

/** Lines of several containers are held back this long, so that those of one moment come out in order. */
const reorderMs = 150;
const rescanMs = 1000;

/** Ends when everything is read, or with `follow` when the signal aborts. */
export async function* readLogs(
  connection: Connection,
  releases: Release[],
  options: LogOptions,
): AsyncGenerator<LogLine> {
  const sources = await findSources(connection, releases, options);
  if (options.follow === true) {
    yield* follow(connection, releases, sources, options);
    return;
  }
  const lines: LogLine[] = [];
  await Promise.all(
    sources.map(async (source) => {
      for await (const line of streamOf(connection, source, options)) lines.push(line);
    }),
  );
  yield* lines.sort(byTime);
}

/** Timestamps have as many digits as the runtime liked: the same instant's text need not be the same length. */
export function byTime(a: LogLine, b: LogLine): number {
  const [first, second] = [a.time.replace("Z", "").padEnd(30, "0"), b.time.replace("Z", "").padEnd(30, "0")];
  return first < second ? -1 : first > second ? 1 : 0;
}

async function findSources(
  connection: Connection,
  releases: Release[],
  options: LogOptions,
): Promise<LogSource[]> {
  const namespaces = [...new Set(releases.map((release) => release.namespace))];
  const found: LogSource[] = [];
  for (const namespace of namespaces) {
    const objects = await readNamespace(connection.client, namespace, options.signal);
    for (const { service, release } of releases.filter((one) => one.namespace === namespace)) {
      for (const pod of allPods(objects, service, release))
        found.push(...containersOf(pod, service, namespace, options));
    }
  }
  return found;
}

function containersOf(pod: KubeObject, service: string, namespace: string, options: LogOptions): LogSource[] {
  const { spec, status = {} } = pod;
  const statuses = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])] as {
    name: string;
    restartCount?: number;
    state?: { waiting?: object };
    lastState?: { terminated?: object };
  }[];
  const names = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map(
    ({ name }: { name: string }) => name,
  );
  return names
    .filter((name) => options.container === undefined || name === options.container)
    .filter((name) => {
      const one = statuses.find((candidate) => candidate.name === name);
      const ranBefore = one?.lastState?.terminated !== undefined;
      return options.previous === true
        ? ranBefore
        : one !== undefined && (one.state?.waiting === undefined || ranBefore);
    })
    .map((container) => ({
      service,
      namespace,
      pod: pod.metadata.name,
      container,
      restarts: statuses.find((one) => one.name === container)?.restartCount ?? 0,
    }));
}

/** The lines of one container; none where it went away or has not started. With `follow` until it ends. */
export async function* streamOf(
  connection: Connection,
  source: LogSource,
  options: LogOptions,
): AsyncGenerator<LogLine> {
  const query = new URLSearchParams({ container: source.container, timestamps: "true" });
  if (options.follow === true) query.set("follow", "true");
  if (options.previous === true) query.set("previous", "true");
  if (options.tail !== undefined) query.set("tailLines", String(options.tail));
  if (options.sinceMs !== undefined)
    query.set("sinceSeconds", String(Math.max(1, Math.ceil(options.sinceMs / 1000))));
  const response = await connection.transport.request({
    method: "GET",
    path: `${pathOf(podsResource, source.namespace, source.pod, "log")}?${query.toString()}`,
    headers: { accept: "*/*" },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (response.status !== 200) {
    // A container that went away or has not started has nothing to say.
    if (response.status === 404 || response.status === 400) return;
    throw new UserError(`the logs of ${source.pod} cannot be read: HTTP ${response.status}`, {
      code: response.status === 403 ? "permission" : "failed",
    });
  }
  for await (const text of splitLines(response.body)) {
    const space = text.indexOf(" ");
    const time = space < 0 ? text : text.slice(0, space);
    yield {
      time,
      service: source.service,
      pod: source.pod,
      container: source.container,
      text: space < 0 ? "" : text.slice(space + 1),
    };
  }
}

async function* splitLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest !== "") yield rest;
}

async function* follow(
  connection: Connection,
  releases: Release[],
  first: LogSource[],
  options: LogOptions,
): AsyncGenerator<LogLine> {
  // Pods that come later are read from their first line, and so are containers that start again.
  const later = { ...options };
  delete later.tail;
  delete later.sinceMs;
  const pending: { line: LogLine; arrived: number }[] = [];
  let wake = () => {};
  let failure: unknown;
  const stopped = () => options.signal?.aborted === true || failure !== undefined;
  const open = new Set<string>();
  const newest = new Map<string, LogLine>();
  const begin = (source: LogSource, settings: LogOptions) => {
    const id = `${source.namespace}/${source.pod}/${source.container}`;
    const run = `${id}/${source.restarts}`;
    if (open.has(run)) return;
    open.add(run);
    const pump = async () => {
      for await (const line of streamOf(connection, source, settings)) {
        // A run that began while the one before was being read may have been read with it.
        const last = newest.get(id);
        if (last !== undefined && settings === later && byTime(line, last) <= 0) continue;
        newest.set(id, line);
        pending.push({ line, arrived: performance.now() });
        wake();
      }
    };
    pump()
      .catch((error: unknown) => {
        if (options.signal?.aborted !== true) failure = error;
      })
      .finally(wake);
  };
  for (const source of first) begin(source, options);
  const rescan = setInterval(() => {
    findSources(connection, releases, options)
      .then((sources) => {
        for (const source of sources) begin(source, later);
      })
      .catch((error: unknown) => {
        if (!stopped() && !isApiError(error)) failure = error;
        wake();
      });
  }, rescanMs);
  const onAbort = () => wake();
  options.signal?.addEventListener("abort", onAbort);
  try {
    while (!stopped()) {
      const now = performance.now();
      const due = pending.filter((entry) => now - entry.arrived >= reorderMs);
      if (due.length > 0) {
        pending.splice(0, pending.length, ...pending.filter((entry) => now - entry.arrived < reorderMs));
        yield* due.map((entry) => entry.line).sort(byTime);
        continue;
      }
      await new Promise<void>((resolve) => {
        const timer = pending.length > 0 ? setTimeout(resolve, reorderMs) : undefined;
        wake = () => {
          if (pending.length > 0 && timer === undefined) setTimeout(resolve, reorderMs);
          else if (stopped()) resolve();
        };
      });
    }
    if (failure !== undefined) throw failure;
  } finally {
    clearInterval(rescan);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

/** The last lines of one container, for an error; none where there are none to be had. */
export async function lastLogLines(
  connection: Connection,
  pod: { namespace: string; name: string; container: string; previous?: boolean },
  count: number,
): Promise<string[]> {
  const source = {
    service: "",
    namespace: pod.namespace,
    pod: pod.name,
    container: pod.container,
    restarts: 0,
  };
  const lines: string[] = [];
  try {
    const options = { tail: count, previous: pod.previous === true, signal: AbortSignal.timeout(5000) };
    for await (const line of streamOf(connection, source, options)) lines.push(line.text);
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof UserError || error instanceof DOMException))
      throw error;
  }
  return lines.slice(-count);
}
