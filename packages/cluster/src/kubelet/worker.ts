/**
 * One pod, from its assignment to this node until nothing is left of it. Everything that happens (an update, an exit, a
 * probe, a ConfigMap that appears) only asks for another `sync`, which compares what should be with what is; syncs of one
 * pod never overlap.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "@kws/base/errors";
import { pods } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { KubeletContext } from "./context.ts";
import { ContainerSet } from "./containers.ts";
import { isFinished, isSidecar, type Pod } from "./pod.ts";
import { latestRun } from "./record.ts";
import type { Container, PodSandbox } from "./runtime.ts";
import { sandboxSpec } from "./sandbox.ts";
import { computePhase, computeStatus } from "./status.ts";
import { StatusWriter } from "./statuswriter.ts";
import { timestamp } from "./time.ts";
import { PodTokens } from "./tokens.ts";
import { setUpVolumes, VolumeError, type VolumeSource } from "./volumes.ts";

export interface AdoptedPod {
  sandbox: PodSandbox | undefined;
  containers: Container[];
}

export class PodWorker {
  readonly uid: string;
  readonly containers: ContainerSet;
  readonly #context: KubeletContext;
  readonly #podDir: string;
  readonly #status: StatusWriter;
  readonly #tokens: PodTokens;
  readonly #onGone: () => void;
  /** Aborts hooks and starts when the pod is to end. */
  readonly #ending = new AbortController();
  #pod: Pod;
  #address: string | undefined;
  #volumes: Map<string, VolumeSource> | undefined;
  #volumesStale = true;
  #volumesInUse: boolean;
  #failed: { reason: string; message: string; disrupted?: boolean } | undefined;
  #ended = false;
  #cleaned = false;
  #gone = false;
  #closed = false;
  #syncing = false;
  #dirty = false;
  #refresh: NodeJS.Timeout | undefined;
  #timer: { at: number; handle: NodeJS.Timeout } | undefined;

  constructor(context: KubeletContext, pod: Pod, adopted: AdoptedPod, onGone: () => void) {
    this.#context = context;
    this.#pod = pod;
    this.uid = pod.metadata.uid ?? "";
    this.#podDir = join(context.dataDir, "pods", this.uid);
    this.#onGone = onGone;
    this.#address =
      adopted.sandbox && (pod.spec.hostNetwork ? context.node.address : adopted.sandbox.address);
    this.#tokens = new PodTokens(context.client, context.now);
    this.#status = new StatusWriter(
      context,
      () => this.#pod,
      () => this.#computeStatus(),
    );
    this.containers = new ContainerSet(context, this.#podDir, {
      pod: () => this.#pod,
      address: () => this.#address,
      volumes: () => this.#volumes ?? new Map(),
      ending: this.#ending.signal,
      kick: () => this.kick(),
      publish: () => this.#status.publish(),
      retryAfter: (milliseconds) => this.#retryAfter(milliseconds),
    });
    context.references.track(pod);
    this.containers.adopt(adopted.containers, adopted.sandbox !== undefined);
    this.#volumesInUse = adopted.containers.length > 0;
  }

  get pod(): Pod {
    return this.#pod;
  }

  get address(): string | undefined {
    return this.#address;
  }

  update(pod: Pod): void {
    const old = this.#pod;
    this.#pod = pod;
    const { labels, annotations, deletionTimestamp, deletionGracePeriodSeconds = 0 } = pod.metadata;
    if (deletionTimestamp !== undefined) {
      this.#ending.abort();
      if (deletionGracePeriodSeconds < (old.metadata.deletionGracePeriodSeconds ?? 0)) {
        this.containers.hurry(deletionGracePeriodSeconds);
      }
    }
    const before = JSON.stringify([old.metadata.labels, old.metadata.annotations]);
    if (before !== JSON.stringify([labels, annotations])) this.#volumesStale = true;
    if (old.metadata.generation !== pod.metadata.generation) this.#context.references.track(pod);
    this.kick();
  }

  /** The API server knows the pod no more. */
  remove(): void {
    this.#gone = true;
    this.#ending.abort();
    this.containers.hurry(2);
    this.kick();
  }

  /** Something that the pod refers to has changed. */
  referenceChanged(): void {
    this.#volumesStale = true;
    this.kick();
  }

  kick(): void {
    this.#dirty = true;
    if (this.#syncing || this.#closed) return;
    this.#syncing = true;
    void this.#run();
  }

  /** Ends the pod's containers because the node goes down. Pods that do not restart have failed by it. */
  async shutDown(limitSeconds: number): Promise<void> {
    const pod = this.#pod;
    const running = [...this.containers.records.values()].some(
      (record) => latestRun(record)?.state === "running",
    );
    this.#closed = true;
    clearTimeout(this.#timer?.handle);
    clearTimeout(this.#refresh);
    if (!running || this.#gone) return;
    this.#ending.abort();
    const restarts = (pod.spec.restartPolicy ?? "Always") === "Always";
    if (!restarts && pod.metadata.deletionTimestamp === undefined && !this.#regularOnesAreDone()) {
      const message = "Pod was terminated in response to imminent node shutdown.";
      this.#failed ??= { reason: "Terminated", message, disrupted: true };
    }
    const grace = pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
    await this.containers.stopAll(Math.min(grace, limitSeconds));
    await this.#status.flush();
  }

  /** Leaves the pod as it is, for the next kubelet to adopt. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer?.handle);
    clearTimeout(this.#refresh);
    this.containers.close();
  }

  async #run(): Promise<void> {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      try {
        await this.#sync();
      } catch (error) {
        const message = messageOf(error);
        this.#context.logger.warn("pod sync failed", { pod: this.#pod.metadata.name, error: message });
        this.#context.recorder.event(this.#pod, "Warning", "FailedSync", `error syncing pod: ${message}`);
        this.#retryAfter(1000);
      }
      if (!this.#gone) this.#status.publish();
    }
    this.#syncing = false;
  }

  async #sync(): Promise<void> {
    if (this.#gone) return this.#tearDown();
    if (this.#pod.metadata.deletionTimestamp !== undefined) return this.#terminate();
    if (this.#failed !== undefined || isFinished(this.#pod)) return this.#finish();
    if (this.#deadlinePassed()) {
      const message = "Pod was active on the node longer than the specified deadline";
      this.#failed = { reason: "DeadlineExceeded", message };
      this.#context.recorder.event(this.#pod, "Normal", "DeadlineExceeded", message);
      return this.#finish();
    }
    if (!(await this.#prepare()) || this.#ending.signal.aborted) return;
    await this.containers.startDue();
    if (this.#ending.signal.aborted) return;
    if (this.#regularOnesAreDone()) await this.#finish();
  }

  /** Volumes and the sandbox; false when something is still missing. */
  async #prepare(): Promise<boolean> {
    const [volumes] = await Promise.all([this.#mountVolumes(), this.#ensureSandbox()]);
    return volumes;
  }

  async #ensureSandbox(): Promise<void> {
    if (this.#address !== undefined) return;
    try {
      const { address } = await this.#context.runtime.runPodSandbox(sandboxSpec(this.#pod));
      this.#address = this.#pod.spec.hostNetwork ? this.#context.node.address : address;
      // NetworkPolicies isolate it until its address is known.
      this.#status.publish();
    } catch (error) {
      const message = `Failed to create pod sandbox: ${messageOf(error)}`;
      this.#context.recorder.event(this.#pod, "Warning", "FailedCreatePodSandBox", message);
      throw error;
    }
  }

  async #mountVolumes(): Promise<boolean> {
    if (!this.#volumesStale) return this.#volumes !== undefined;
    this.#volumesStale = false;
    const { client, machine, references, recorder } = this.#context;
    const pod = this.#pod;
    const root = join(this.#podDir, "volumes");
    try {
      await mkdir(root, { recursive: true });
      this.#volumes = await setUpVolumes({
        client,
        pod,
        root,
        inUse: this.#volumesInUse,
        machine,
        reference: (kind, name) => references.get(kind, pod.metadata.namespace ?? "", name),
        token: (audience, seconds) => this.#tokens.get(pod, audience, seconds),
      });
      this.#volumesInUse = true;
      const { renewAt } = this.#tokens;
      if (Number.isFinite(renewAt)) this.#refreshAt(renewAt);
      return true;
    } catch (error) {
      if (!(error instanceof VolumeError)) throw error;
      recorder.event(pod, "Warning", "FailedMount", error.message);
      // References announce themselves; claims and host paths have to be looked at again.
      this.#refreshAt(this.#context.now() + 1000);
      return this.#volumes !== undefined;
    }
  }

  #refreshAt(time: number): void {
    const wait = Math.max(0, time - this.#context.now());
    clearTimeout(this.#refresh);
    this.#refresh = setTimeout(
      () => {
        this.#volumesStale = true;
        this.kick();
      },
      Math.min(wait, 2 ** 31 - 1),
    );
    this.#refresh.unref();
  }

  #regularOnesAreDone(): boolean {
    const { records } = this.containers;
    const pod = this.#pod;
    const withoutSidecars: Pod = {
      ...pod,
      spec: {
        ...pod.spec,
        initContainers: pod.spec.initContainers?.filter((container) => !isSidecar(container)),
      },
    };
    const phase = computePhase(withoutSidecars, records);
    return phase === "Succeeded" || phase === "Failed";
  }

  #deadlinePassed(): boolean {
    const { activeDeadlineSeconds } = this.#pod.spec;
    const { startTime } = this.#pod.status ?? {};
    if (activeDeadlineSeconds === undefined) return false;
    if (startTime === undefined) {
      this.#retryAfter(activeDeadlineSeconds * 1000);
      return false;
    }
    const left = Date.parse(startTime) + activeDeadlineSeconds * 1000 - this.#context.now();
    if (left > 0) this.#retryAfter(left);
    return left <= 0;
  }

  /** The pod has run its course: what still runs is ended, its namespaces are freed, its logs stay. */
  async #finish(): Promise<void> {
    if (this.#cleaned) return;
    this.#ending.abort();
    await this.containers.stopAll(this.#pod.spec.terminationGracePeriodSeconds ?? 30);
    this.#ended = true;
    this.#status.publish();
    await this.#context.runtime.removePodSandbox(this.uid);
    this.#cleaned = true;
  }

  /** Somebody has asked for the pod's deletion: containers end in order, then the API object may go. */
  async #terminate(): Promise<void> {
    if (this.#ended && this.#cleaned) return this.#deleteObject();
    const { deletionGracePeriodSeconds } = this.#pod.metadata;
    this.#ending.abort();
    await this.containers.stopAll(
      deletionGracePeriodSeconds ?? this.#pod.spec.terminationGracePeriodSeconds ?? 30,
    );
    this.#ended = true;
    await Promise.all([this.#status.flush(), this.#context.runtime.removePodSandbox(this.uid)]);
    this.#cleaned = true;
    await this.#deleteObject();
  }

  async #deleteObject(): Promise<void> {
    const { name, namespace, uid } = this.#pod.metadata;
    await this.#status.flush();
    try {
      await this.#context.client.delete(pods, name, namespace, {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
    } catch (error) {
      if (!isApiError(error, "NotFound", "Conflict")) throw error;
    }
  }

  async #tearDown(): Promise<void> {
    await this.containers.stopAll(Math.min(this.#pod.spec.terminationGracePeriodSeconds ?? 30, 2));
    await this.#context.runtime.removePodSandbox(this.uid);
    this.close();
    this.#context.references.untrack(this.uid);
    await rm(this.#podDir, { recursive: true, force: true });
    this.#onGone();
  }

  #computeStatus(): ReturnType<typeof computeStatus> {
    return computeStatus({
      pod: this.#pod,
      records: this.containers.records,
      address: this.#address,
      nodeAddress: this.#context.node.address,
      previous: this.#status.last,
      now: timestamp(this.#context.now()),
      failed: this.#failed,
      ended: this.#ended && !this.#stillPending(),
    });
  }

  /** A finished pod that failed before its containers ran keeps the phase that its init containers give it. */
  #stillPending(): boolean {
    const { records } = this.containers;
    return (
      this.#pod.metadata.deletionTimestamp === undefined &&
      this.#pod.spec.containers.every(({ name }) => latestRun(records.get(name)) === undefined)
    );
  }

  #retryAfter(milliseconds: number): void {
    const at = performance.now() + milliseconds;
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    clearTimeout(this.#timer?.handle);
    const handle = setTimeout(
      () => {
        this.#timer = undefined;
        this.kick();
      },
      Math.min(milliseconds, 2 ** 31 - 1),
    );
    handle.unref();
    this.#timer = { at, handle };
  }
}
