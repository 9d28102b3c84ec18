/** Logs, exec, attach and port-forward of the pods of this node. */
import { PassThrough, Readable } from "node:stream";
import { isErrno, messageOf } from "@kws/base/errors";
import { apiError } from "@kws/kube/status";
import type { KubeObject } from "@kws/kube/object";
import type { KubeletContext } from "./context.ts";
import { readLog } from "./logs.ts";
import type { Pod, PodContainer } from "./pod.ts";
import { allContainers, latestRun, type ContainerRun } from "./record.ts";
import type { ExecSession } from "./runtime.ts";
import type { LogOptions, NodeStreams } from "./streams.ts";
import { usageMeter } from "./usage.ts";
import type { PodWorker } from "./worker.ts";

export function serveStreams(
  context: KubeletContext,
  workerOf: (uid: string) => PodWorker | undefined,
  signal: AbortSignal,
): NodeStreams {
  const find = (object: KubeObject): PodWorker => {
    const worker = workerOf(object.metadata.uid ?? "");
    if (worker === undefined) {
      throw apiError("BadRequest", `pod ${object.metadata.name} does not have a host assigned`);
    }
    return worker;
  };
  const running = (object: KubeObject, name: string | undefined): [PodWorker, PodContainer, ContainerRun] => {
    const worker = find(object);
    const container = chooseContainer(worker.pod, name);
    const run = latestRun(worker.containers.records.get(container.name));
    if (run?.state !== "running") {
      throw apiError("InternalError", `container not found ("${container.name}")`);
    }
    return [worker, container, run];
  };
  return {
    logs: (pod, options) => openLogs(context, find(pod), options),

    async exec(pod, { container: name, command, stdin, tty }) {
      const [, , run] = running(pod, name);
      return context.runtime.exec(run.id, { argv: command, stdin, tty });
    },

    async attach(pod, { container: name }) {
      const [worker, container, run] = running(pod, name);
      if (context.runtime.attach !== undefined) {
        const session = await context.runtime.attach(run.id);
        // As upstream: who attaches hears that the streams have ended; how the process did stands in the pod's status.
        return { ...session, exit: session.exit.then(() => 0) };
      }
      return followAsSession(context, worker, container, run);
    },

    usage: usageMeter(context.runtime, { now: context.now, signal }),

    async portForward(pod, port) {
      const worker = find(pod);
      if (worker.address === undefined) {
        throw apiError(
          "BadRequest",
          `unable to forward port because pod is not running. Current status=Pending`,
        );
      }
      try {
        // By the sandbox, so that programs that listen on the pod's loopback address alone are reached too.
        const sandbox = worker.pod.spec.hostNetwork ? undefined : worker.uid;
        return await context.runtime.dial(worker.address, port, sandbox);
      } catch (error) {
        throw apiError(
          "InternalError",
          `error forwarding port ${port} to pod ${pod.metadata.name}: ${messageOf(error)}`,
        );
      }
    },
  };
}

/** The container that is meant, with upstream's words when that is not clear. */
export function chooseContainer(pod: Pod, name: string | undefined): PodContainer {
  const { containers, initContainers = [] } = pod.spec;
  if (name) {
    const found = allContainers(pod).find((container) => container.name === name);
    if (found === undefined) {
      throw apiError("BadRequest", `container ${name} is not valid for pod ${pod.metadata.name}`);
    }
    return found;
  }
  const [only] = containers;
  if (only !== undefined && containers.length === 1) return only;
  const names = (list: PodContainer[]) => `[${list.map((container) => container.name).join(" ")}]`;
  const inits = initContainers.length > 0 ? ` or one of the init containers: ${names(initContainers)}` : "";
  throw apiError(
    "BadRequest",
    `a container name must be specified for pod ${pod.metadata.name}, choose one of: ${names(containers)}${inits}`,
  );
}

async function openLogs(
  context: KubeletContext,
  worker: PodWorker,
  options: LogOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const { pod, containers } = worker;
  const container = chooseContainer(pod, options.container);
  const record = containers.records.get(container.name);
  const run = options.previous ? record?.runs.at(-2) : latestRun(record);
  if (run === undefined) {
    const where = `container "${container.name}" in pod "${pod.metadata.name}"`;
    const message = options.previous
      ? `previous terminated ${where} not found`
      : `${where} is waiting to start: ${record?.waiting?.reason ?? waitingReason(pod, container)}`;
    throw apiError("BadRequest", message);
  }
  const since =
    options.sinceTime === undefined
      ? options.sinceSeconds === undefined
        ? undefined
        : context.now() - options.sinceSeconds * 1000
      : Date.parse(options.sinceTime);
  const log = readLog(containers.logPath(container.name, run.attempt), {
    tailLines: options.tailLines,
    limitBytes: options.limitBytes,
    timestamps: options.timestamps,
    since,
    ...(options.follow && run.state === "running"
      ? {
          follow: {
            isRunning: () => run.state === "running",
            exited: containers.exitOf(run),
            signal: options.signal,
          },
        }
      : {}),
  });
  return withoutMissing(log);
}

/** A container that has written nothing may have no file. */
async function* withoutMissing(log: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* log;
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function waitingReason(pod: Pod, container: PodContainer): string {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const status = [...containerStatuses, ...initContainerStatuses].find(({ name }) => name === container.name);
  return status?.state.waiting?.reason ?? "ContainerCreating";
}

/** Output only, from now on. */
function followAsSession(
  context: KubeletContext,
  worker: PodWorker,
  container: PodContainer,
  run: ContainerRun,
): ExecSession {
  const end = new AbortController();
  const exited = worker.containers.exitOf(run);
  const log = readLog(worker.containers.logPath(container.name, run.attempt), {
    tailLines: 0,
    follow: { isRunning: () => run.state === "running", exited, signal: end.signal },
  });
  const stdin = new PassThrough();
  stdin.resume();
  return {
    stdin,
    stdout: Readable.from(withoutMissing(log), { objectMode: false }),
    stderr: Readable.from([]),
    resize: () => {},
    exit: exited.then(() => 0),
    close: () => {
      context.logger.debug("attach ended", { container: container.name });
      end.abort();
    },
  };
}
