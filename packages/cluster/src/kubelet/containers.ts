/** The containers of one pod: which one is due, starting it, watching over it, ending it. */
import { rm } from "node:fs/promises";
import { messageOf } from "@kws/base/errors";
import type { Image } from "../images/image.ts";
import type { KubeletContext } from "./context.ts";
import { containerSpec, imageId, logPathOf, terminationPathOf } from "./create.ts";
import { endRun, stopInOrder } from "./ending.ts";
import { ContainerConfigError } from "./environment.ts";
import { runHook } from "./hooks.ts";
import { ImageLookup } from "./imagelookup.ts";
import { fieldPathOf, formatPod, isSidecar, type Pod, type PodContainer } from "./pod.ts";
import { podCredentials } from "./pullsecrets.ts";
import { startProbes, type ProbeTarget } from "./probes.ts";
import {
  adoptedRun,
  allContainers,
  exitCodeOf,
  failedRun,
  finishRun,
  latestRun,
  newRun,
  rememberedRuns,
  type ContainerRecord,
  type ContainerRun,
} from "./record.ts";
import { crashBackOff, restarts, type Kind } from "./restart.ts";
import { ContainerStartError, type Container } from "./runtime.ts";
import { isInitDone } from "./status.ts";
import { addressed, environmentSource } from "./surroundings.ts";
import { terminationMessage } from "./termination.ts";
import { timestamp } from "./time.ts";
import type { VolumeSource } from "./volumes.ts";

/** What the set asks of its pod. */
export interface PodAccess {
  pod(): Pod;
  address(): string | undefined;
  volumes(): ReadonlyMap<string, VolumeSource>;
  /** Aborted when the pod is to end. */
  ending: AbortSignal;
  kick(): void;
  publish(): void;
  retryAfter(milliseconds: number): void;
}

export class ContainerSet {
  readonly records = new Map<string, ContainerRecord>();
  readonly #context: KubeletContext;
  readonly #podDir: string;
  readonly #access: PodAccess;
  readonly #probes = new Map<string, AbortController>();
  readonly #exits = new Map<string, PromiseWithResolvers<void>>();
  readonly #images: ImageLookup;
  readonly #stopping = new Set<string>();
  /** Exits of containers whose start has not been answered yet. */
  readonly #early = new Map<string, Container>();

  constructor(context: KubeletContext, podDir: string, access: PodAccess) {
    this.#context = context;
    this.#podDir = podDir;
    this.#access = access;
    this.#images = new ImageLookup({
      images: context.images,
      pull: context.pullImage,
      credentials: () => podCredentials(access.pod(), context),
      tell: (container, type, reason, message) => this.#event(container, type, reason, message),
      retryAfter: (milliseconds) => access.retryAfter(milliseconds),
      signal: access.ending,
    });
  }

  /** Takes over what a kubelet before this one has left running, and what the pod's status remembers. */
  adopt(containers: Container[], sandboxStands: boolean): void {
    const pod = this.#access.pod();
    const {
      initContainerStatuses = [],
      containerStatuses = [],
      ephemeralContainerStatuses = [],
    } = pod.status ?? {};
    for (const status of [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses]) {
      this.records.set(status.name, { runs: rememberedRuns(status) });
    }
    for (const container of containers.sort((a, b) => a.attempt - b.attempt)) {
      const record = this.#record(container.name);
      const statuses = [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses];
      const status = statuses.find(({ name }) => name === container.name);
      record.runs = record.runs.filter((run) => run.attempt < container.attempt);
      this.#exits.set(container.id, Promise.withResolvers());
      record.runs.push(adoptedRun(container, status));
      if (container.state === "exited") void this.#exited(container);
    }
    if (!sandboxStands) return;
    for (const container of allContainers(pod)) {
      const run = latestRun(this.records.get(container.name));
      if (run?.state === "running") this.#watch(container, run, run.started);
    }
  }

  /** Starts every container whose turn it is. */
  async startDue(): Promise<void> {
    const { spec } = this.#access.pod();
    const begun = spec.containers.some(({ name }) => {
      const run = latestRun(this.records.get(name));
      return run !== undefined && !run.remembered;
    });
    for (const container of spec.initContainers ?? []) {
      if (begun && !isSidecar(container)) continue;
      const done =
        isInitDone(container, this.records) && !latestRun(this.records.get(container.name))?.remembered;
      if (done && !isSidecar(container)) continue;
      await this.#ensure(container, "init");
      if (this.#access.ending.aborted) return;
      if (!begun && !isInitDone(container, this.records)) return;
    }
    const rest: [PodContainer, Kind][] = [
      ...(spec.ephemeralContainers ?? []).map((container): [PodContainer, Kind] => [container, "ephemeral"]),
      ...spec.containers.map((container): [PodContainer, Kind] => [container, "regular"]),
    ];
    for (const [container, kind] of rest) {
      await this.#ensure(container, kind);
      if (this.#access.ending.aborted) return;
    }
  }

  async #ensure(container: PodContainer, kind: Kind): Promise<void> {
    const record = this.#record(container.name);
    const run = latestRun(record);
    if (run?.state === "running") {
      if (run.image !== container.image && !this.#stopping.has(run.id)) {
        const message = `Container ${container.name} definition changed, will be restarted`;
        void this.#stop(container, run, this.#grace(), message);
      }
      return;
    }
    if (run !== undefined && !restarts(this.#access.pod(), container, run, kind)) {
      record.waiting = undefined;
      return;
    }
    if (run !== undefined && this.#isBackingOff(container, record, run)) return;
    const image = await this.#images.find(container, record);
    if (image === undefined) return;
    await this.#start(container, record, image, kind);
  }

  #isBackingOff(container: PodContainer, record: ContainerRecord, run: ContainerRun): boolean {
    const pod = this.#access.pod();
    const wait = crashBackOff(this.#context, pod, container, run);
    if (wait === undefined) return false;
    this.#access.retryAfter(wait.milliseconds + 5);
    if (record.waiting?.reason === "CrashLoopBackOff") return true;
    record.waiting = { reason: "CrashLoopBackOff", message: wait.message };
    const what = `failed container ${container.name} in pod ${formatPod(pod)}`;
    this.#event(container, "Warning", "BackOff", `Back-off restarting ${what}`);
    return true;
  }

  async #start(container: PodContainer, record: ContainerRecord, image: Image, kind: Kind): Promise<void> {
    const pod = addressed(this.#access.pod(), this.#access.address(), this.#context.node.address);
    const last = latestRun(record);
    const attempt = last === undefined ? 0 : last.attempt + 1;
    const imageID = imageId(container.image, image.digest);
    const fail = (reason: string, message: string) => {
      const news = record.waiting?.message !== message;
      record.waiting = { reason, message };
      if (news) this.#event(container, "Warning", "Failed", `Error: ${message}`);
    };
    try {
      const spec = await containerSpec({
        pod,
        container,
        image,
        attempt,
        podDir: this.#podDir,
        sandboxId: pod.metadata.uid ?? "",
        targetId: this.#targetOf(container),
        volumes: this.#access.volumes(),
        environment: await environmentSource(this.#context, pod),
        resolveUser: this.#context.resolveUser,
      });
      if (this.#access.ending.aborted) return;
      const exit = Promise.withResolvers<void>();
      this.#exits.set(spec.id, exit);
      this.#event(container, "Normal", "Created", `Created container: ${container.name}`);
      const started = await this.#context.runtime.startContainer(spec);
      this.#event(container, "Normal", "Started", `Started container ${container.name}`);
      const { startedAt } = started;
      const run = newRun({ id: spec.id, attempt, startedAt, image: container.image, imageID });
      record.runs.push(run);
      record.waiting = undefined;
      this.#prune(container, record);
      const early = this.#early.get(spec.id);
      if (early !== undefined || started.state === "exited") {
        this.#early.delete(spec.id);
        await this.#exited(early ?? started);
        return;
      }
      if (await this.#postStart(container, run)) this.#watch(container, run, false);
    } catch (error) {
      const message = messageOf(error);
      if (error instanceof ContainerConfigError) {
        fail("CreateContainerConfigError", message);
        this.#access.retryAfter(5000);
      } else if (error instanceof ContainerStartError) {
        fail(error.reason, message);
        // It counts as a run that ended, as with other runtimes: it is retried with the crash backoff.
        const time = timestamp(this.#context.now());
        const run = failedRun({ id: "", attempt, image: container.image, imageID }, message, time);
        record.runs.push(run);
        this.#prune(container, record);
        this.#access.kick();
        if (!restarts(this.#access.pod(), container, run, kind)) record.waiting = undefined;
      } else throw error;
    }
  }

  /** False when the container has not survived it. */
  async #postStart(container: PodContainer, run: ContainerRun): Promise<boolean> {
    const hook = container.lifecycle?.postStart;
    if (hook === undefined) return run.state === "running";
    this.#access.publish();
    try {
      await runHook(hook, this.#target(container, run), 600_000, this.#access.ending);
    } catch (error) {
      if (this.#access.ending.aborted || run.state !== "running") return false;
      this.#event(container, "Warning", "FailedPostStartHook", `PostStartHook failed: ${messageOf(error)}`);
      await this.#stop(container, run, this.#grace(), "FailedPostStartHook");
    }
    return run.state === "running";
  }

  #watch(container: PodContainer, run: ContainerRun, started: boolean): void {
    const stop = new AbortController();
    this.#probes.set(run.id, stop);
    const target = this.#target(container, run);
    if (started) target.container = { ...container, startupProbe: undefined };
    startProbes(
      target,
      {
        onStarted: () => {
          run.started = true;
          if (isSidecar(container)) this.#access.kick();
          else this.#access.publish();
        },
        onReady: (ready) => {
          run.ready = ready;
          this.#access.publish();
        },
        onFailure: (kind, message) => {
          const name = kind.charAt(0).toUpperCase() + kind.slice(1);
          this.#event(container, "Warning", "Unhealthy", `${name} probe failed: ${message}`);
        },
        onDead: (kind, probe) => {
          const grace = probe.terminationGracePeriodSeconds ?? this.#grace();
          const message = `Container ${container.name} failed ${kind} probe, will be restarted`;
          void this.#stop(container, run, grace, message);
        },
      },
      stop.signal,
    );
  }

  stopAll(graceSeconds: number): Promise<void> {
    return stopInOrder(this.#access.pod(), graceSeconds, async (container, secondsLeft) => {
      const run = latestRun(this.records.get(container.name));
      if (run?.state !== "running") return;
      await this.#stop(container, run, secondsLeft, `Stopping container ${container.name}`);
    });
  }

  /** Shortens the grace of what is already being stopped. */
  hurry(graceSeconds: number): void {
    for (const id of this.#stopping) {
      this.#context.runtime.stopContainer(id, graceSeconds).catch((error: unknown) => {
        this.#context.logger.warn("container not stopped", { id, error: messageOf(error) });
      });
    }
  }

  async #stop(
    container: PodContainer,
    run: ContainerRun,
    graceSeconds: number,
    message: string,
  ): Promise<void> {
    const exit = this.#exits.get(run.id)?.promise;
    if (this.#stopping.has(run.id)) {
      await exit;
      return;
    }
    this.#stopping.add(run.id);
    this.#probes.get(run.id)?.abort();
    this.#event(container, "Normal", "Killing", message);
    try {
      await endRun(this.#target(container, run), graceSeconds, (reason, message) =>
        this.#event(container, "Warning", reason, message),
      );
      await exit;
    } finally {
      this.#stopping.delete(run.id);
    }
  }

  /** To be called for every exit of a container of this pod. */
  onExit(container: Container): void {
    const run = this.#find(container);
    if (run === undefined) this.#early.set(container.id, container);
    else void this.#exited(container);
  }

  async #exited(container: Container): Promise<void> {
    const run = this.#find(container);
    const spec = allContainers(this.#access.pod()).find(({ name }) => name === container.name);
    if (run === undefined || run.state === "exited") return;
    this.#probes.get(container.id)?.abort();
    this.#probes.delete(container.id);
    const exitCode = exitCodeOf(container);
    const message = spec === undefined ? "" : await terminationMessage(this.#podDir, spec, run, exitCode);
    finishRun(run, container, timestamp(this.#context.now()));
    if (message !== "") run.message = message;
    this.#exits.get(container.id)?.resolve();
    this.#access.publish();
    this.#access.kick();
  }

  logPath(container: string, attempt: number): string {
    return logPathOf(this.#podDir, container, attempt);
  }

  /** Resolves when this run has ended. */
  exitOf(run: ContainerRun): Promise<void> {
    return this.#exits.get(run.id)?.promise ?? Promise.resolve();
  }

  close(): void {
    for (const stop of this.#probes.values()) stop.abort();
  }

  /** Only the last two runs are kept, with their logs. */
  #prune(container: PodContainer, record: ContainerRecord): void {
    for (const run of record.runs.splice(0, Math.max(0, record.runs.length - 2))) {
      const drop = async () => {
        if (!run.remembered && run.id !== "") await this.#context.runtime.removeContainer(run.id);
        await rm(logPathOf(this.#podDir, container.name, run.attempt), { force: true });
        await rm(terminationPathOf(this.#podDir, container.name, run.attempt), { force: true });
      };
      this.#exits.delete(run.id);
      drop().catch((error: unknown) => {
        this.#context.logger.warn("old container not removed", { id: run.id, error: messageOf(error) });
      });
    }
  }

  #record(name: string): ContainerRecord {
    const record = this.records.get(name) ?? { runs: [] };
    this.records.set(name, record);
    return record;
  }

  /** The container whose processes an ephemeral one asks to see. */
  #targetOf({ targetContainerName: name }: PodContainer): string | undefined {
    if (!name) return undefined;
    const run = latestRun(this.records.get(name));
    if (run?.state === "running") return run.id;
    throw new ContainerConfigError(`unable to find target container ${JSON.stringify(name)}`);
  }

  #find({ id, name }: Container): ContainerRun | undefined {
    return this.records.get(name)?.runs.find((run) => run.id === id);
  }

  #target(container: PodContainer, run: ContainerRun): ProbeTarget {
    const host = this.#access.address() ?? this.#context.node.address;
    const { runtime, standstill } = this.#context;
    return { runtime, standstill, containerId: run.id, container, host };
  }

  #grace(): number {
    return this.#access.pod().spec.terminationGracePeriodSeconds ?? 30;
  }

  #event(container: PodContainer, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#context.recorder.event(
      this.#access.pod(),
      type,
      reason,
      message,
      fieldPathOf(this.#access.pod(), container),
    );
  }
}
