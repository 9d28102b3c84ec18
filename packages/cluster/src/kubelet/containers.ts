/** The containers of one pod: which one is due, starting it, watching over it, ending it. */
import { rm } from "node:fs/promises";
import { messageOf } from "@kws/base/errors";
import { services } from "@kws/kube/resources";
import type { KubeObject } from "@kws/kube/object";
import type { Image } from "../images/image.ts";
import { formatDuration } from "./backoff.ts";
import type { KubeletContext } from "./context.ts";
import { containerSpec, imageId, logPathOf, terminationPathOf } from "./create.ts";
import { ContainerConfigError } from "./environment.ts";
import { runHook } from "./hooks.ts";
import { ImageLookup } from "./imagelookup.ts";
import { formatPod, isSidecar, type ContainerStatus, type Pod, type PodContainer } from "./pod.ts";
import { podCredentials } from "./pullsecrets.ts";
import { startProbes, type ProbeTarget } from "./probes.ts";
import {
  allContainers,
  latestRun,
  rememberedRuns,
  type ContainerRecord,
  type ContainerRun,
} from "./record.ts";
import { ContainerStartError, type Container } from "./runtime.ts";
import { isInitDone } from "./status.ts";
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

type Kind = "init" | "regular" | "ephemeral";

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
      record.runs.push(this.#adoptRun(container, status));
      if (container.state === "exited") void this.#exited(container);
    }
    if (!sandboxStands) return;
    for (const container of allContainers(pod)) {
      const run = latestRun(this.records.get(container.name));
      if (run?.state === "running") this.#watch(container, run, run.started);
    }
  }

  #adoptRun(container: Container, status: ContainerStatus | undefined): ContainerRun {
    const same = status?.containerID === `kws://${container.id}`;
    this.#exits.set(container.id, Promise.withResolvers());
    return {
      id: container.id,
      attempt: container.attempt,
      state: "running",
      startedAt: container.startedAt,
      image: container.annotations["kws.dev/image"] ?? "",
      imageID: container.annotations["kws.dev/image-id"] ?? "",
      started: same && status?.started === true,
      ready: same && status.ready,
      remembered: false,
    };
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
    if (run !== undefined && !this.#restarts(container, run, kind)) {
      record.waiting = undefined;
      return;
    }
    if (run !== undefined && this.#isBackingOff(container, record, run)) return;
    const image = await this.#images.find(container, record);
    if (image === undefined) return;
    await this.#start(container, record, image, kind);
  }

  #restarts(container: PodContainer, run: ContainerRun, kind: Kind): boolean {
    const policy = this.#access.pod().spec.restartPolicy ?? "Always";
    if (kind === "ephemeral") return false;
    if (isSidecar(container)) return true;
    // The machine has forgotten what the init container had prepared: it runs again.
    if (kind === "init" && run.remembered && policy !== "Never") return true;
    if (kind === "init") return run.exitCode !== 0 && policy !== "Never";
    return policy === "Always" || (policy === "OnFailure" && run.exitCode !== 0);
  }

  #isBackingOff(container: PodContainer, record: ContainerRecord, run: ContainerRun): boolean {
    const { crashes, now, recorder } = this.#context;
    const pod = this.#access.pod();
    const key = `${pod.metadata.uid}/${container.name}`;
    const since = Date.parse(run.finishedAt ?? "");
    if (Number.isNaN(since)) return false;
    const remaining = crashes.remaining(key, since, now());
    if (remaining === 0) {
      crashes.advance(key, since, now());
      return false;
    }
    this.#access.retryAfter(remaining + 5);
    if (record.waiting?.reason === "CrashLoopBackOff") return true;
    const what = `failed container=${container.name} pod=${formatPod(pod)}`;
    record.waiting = {
      reason: "CrashLoopBackOff",
      message: `back-off ${formatDuration(crashes.delay(key))} restarting ${what}`,
    };
    const message = `Back-off restarting failed container ${container.name} in pod ${formatPod(pod)}`;
    recorder.event(pod, "Warning", "BackOff", message, this.#fieldPath(container));
    return true;
  }

  async #start(container: PodContainer, record: ContainerRecord, image: Image, kind: Kind): Promise<void> {
    const pod = this.#withAddress();
    const last = latestRun(record);
    const attempt = last === undefined ? 0 : last.attempt + 1;
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
        volumes: this.#access.volumes(),
        environment: {
          pod,
          machine: this.#context.machine,
          configMap: (name) => this.#context.references.get("ConfigMap", pod.metadata.namespace ?? "", name),
          secret: (name) => this.#context.references.get("Secret", pod.metadata.namespace ?? "", name),
          services: await this.#visibleServices(pod),
        },
        resolveUser: this.#context.resolveUser,
      });
      if (this.#access.ending.aborted) return;
      const exit = Promise.withResolvers<void>();
      this.#exits.set(spec.id, exit);
      this.#event(container, "Normal", "Created", `Created container: ${container.name}`);
      const started = await this.#context.runtime.startContainer(spec);
      this.#event(container, "Normal", "Started", `Started container ${container.name}`);
      const run: ContainerRun = {
        id: spec.id,
        attempt,
        state: "running",
        startedAt: started.startedAt,
        image: container.image,
        imageID: imageId(container.image, image.digest),
        started: false,
        ready: false,
        remembered: false,
      };
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
        const run = this.#recordFailedStart(container, record, image, attempt, message);
        if (!this.#restarts(container, run, kind)) record.waiting = undefined;
      } else throw error;
    }
  }

  /** A start that failed counts as a run that ended, as with other runtimes: it is retried with the crash backoff. */
  #recordFailedStart(
    container: PodContainer,
    record: ContainerRecord,
    image: Image,
    attempt: number,
    message: string,
  ): ContainerRun {
    const time = timestamp(this.#context.now());
    const run: ContainerRun = {
      id: "",
      attempt,
      state: "exited",
      startedAt: time,
      finishedAt: time,
      exitCode: 128,
      reason: "StartError",
      message,
      image: container.image,
      imageID: imageId(container.image, image.digest),
      started: false,
      ready: false,
      remembered: false,
    };
    record.runs.push(run);
    this.#prune(container, record);
    this.#access.kick();
    return run;
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

  /** Regular and init containers together, then sidecars, the last one first. */
  async stopAll(graceSeconds: number): Promise<void> {
    const began = performance.now();
    const { initContainers = [] } = this.#access.pod().spec;
    const sidecars = initContainers.filter(isSidecar);
    const others = allContainers(this.#access.pod()).filter((container) => !sidecars.includes(container));
    const stop = async (container: PodContainer) => {
      const run = latestRun(this.records.get(container.name));
      if (run?.state !== "running") return;
      const left = Math.max(graceSeconds === 0 ? 0 : 2, graceSeconds - (performance.now() - began) / 1000);
      await this.#stop(container, run, Math.min(left, graceSeconds), `Stopping container ${container.name}`);
    };
    await Promise.all(others.map(stop));
    for (const sidecar of sidecars.toReversed()) await stop(sidecar);
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
    const began = performance.now();
    const hook = container.lifecycle?.preStop;
    if (hook !== undefined && graceSeconds > 0) {
      try {
        await runHook(hook, this.#target(container, run), graceSeconds * 1000, new AbortController().signal);
      } catch (error) {
        this.#event(container, "Warning", "FailedPreStopHook", `PreStopHook failed: ${messageOf(error)}`);
      }
    }
    const left = graceSeconds === 0 ? 0 : Math.max(2, graceSeconds - (performance.now() - began) / 1000);
    try {
      await this.#context.runtime.stopContainer(run.id, Math.min(left, Math.max(graceSeconds, 2)));
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
    const exitCode = container.exitCode ?? 137;
    const message = spec === undefined ? "" : await terminationMessage(this.#podDir, spec, run, exitCode);
    run.state = "exited";
    run.ready = false;
    run.started = false;
    run.exitCode = exitCode;
    run.finishedAt = container.finishedAt ?? timestamp(this.#context.now());
    run.reason = container.oomKilled ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
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

  /** The pod as its own containers see it: with the addresses that its status may not show yet. */
  #withAddress(): Pod {
    const pod = this.#access.pod();
    const ip = this.#access.address();
    const hostIP = this.#context.node.address;
    const addressed = ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] };
    return { ...pod, status: { ...pod.status, hostIP, hostIPs: [{ ip: hostIP }], ...addressed } };
  }

  async #visibleServices(pod: Pod): Promise<KubeObject[]> {
    const { client, apiServer } = this.#context;
    const kubernetes: KubeObject = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kubernetes", namespace: "default" },
      spec: { clusterIP: apiServer.host, ports: [{ name: "https", port: apiServer.port, protocol: "TCP" }] },
    };
    if (pod.spec.enableServiceLinks === false) return [kubernetes];
    const own = await client.list(services, pod.metadata.namespace);
    return [kubernetes, ...own.items];
  }

  #record(name: string): ContainerRecord {
    const record = this.records.get(name) ?? { runs: [] };
    this.records.set(name, record);
    return record;
  }

  #find({ id, name }: Container): ContainerRun | undefined {
    return this.records.get(name)?.runs.find((run) => run.id === id);
  }

  #target(container: PodContainer, run: ContainerRun): ProbeTarget {
    const host = this.#access.address() ?? this.#context.node.address;
    return { runtime: this.#context.runtime, containerId: run.id, container, host };
  }

  #grace(): number {
    return this.#access.pod().spec.terminationGracePeriodSeconds ?? 30;
  }

  #event(container: PodContainer, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#context.recorder.event(this.#access.pod(), type, reason, message, this.#fieldPath(container));
  }

  #fieldPath({ name }: PodContainer): string {
    const { spec } = this.#access.pod();
    const is = (list: PodContainer[] | undefined) =>
      list?.some((container) => container.name === name) === true;
    const list = is(spec.initContainers)
      ? "initContainers"
      : is(spec.ephemeralContainers)
        ? "ephemeralContainers"
        : "containers";
    return `spec.${list}{${name}}`;
  }
}
