/** A pod's containers in a Docker Engine: they, and what became of them, are the engine's; their logs and mounts are files. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type Docker from "dockerode";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { ContainerStartError, type Container, type ContainerSpec } from "../../runtime.ts";
import type { ContainerRoot } from "../sandbox/usage.ts";
import { containerBody, startError } from "./create.ts";
import { isStatus, orMissing } from "./engine.ts";
import type { EngineImages } from "./images.ts";
import { labels, ofShare, type EngineShare } from "./layout.ts";
import { EngineLog } from "./logs.ts";
import type { EnginePods } from "./pods.ts";

/** What a container's label says of it. */
interface Kept extends Pick<Container, "id" | "sandboxId" | "name" | "attempt" | "annotations"> {
  logPath: string;
  tty: boolean;
}

export interface EngineContainer {
  kept: Kept;
  container: Container;
  inEngine: Docker.Container;
  /** Its first process, as the engine counts. */
  pid: number;
  /** Resolves once it has ended, its log is written and everybody is told. */
  ended: Promise<void>;
}

type EngineState = Docker.ContainerInspectInfo["State"];

export interface ContainersOptions {
  share: EngineShare;
  pods: EnginePods;
  images: EngineImages;
  cpus: number;
  onExit(container: Container): void;
  logger: Logger;
}

export class EngineContainers {
  readonly #options: ContainersOptions;
  readonly #known = new Map<string, EngineContainer>();
  #closed = false;

  constructor(options: ContainersOptions) {
    this.#options = options;
  }

  /** Takes over those that an earlier daemon started; what it had not started yet is removed. */
  async adopt(): Promise<void> {
    const { share } = this.#options;
    const found = await share.docker.listContainers({ all: true, filters: ofShare(share, labels.container) });
    const adoptOne = async ({ Id, Labels }: Docker.ContainerInfo) => {
      const inEngine = share.docker.getContainer(Id);
      const { State } = await inEngine.inspect();
      if (State.Status === "created") await inEngine.remove({ force: true });
      else await this.#keep(JSON.parse(Labels[labels.container] ?? "") as Kept, inEngine, State, true);
    };
    await Promise.all(found.map(adoptOne));
  }

  list(): Container[] {
    return [...this.#known.values()].map(({ container }) => container);
  }

  running(id: string): EngineContainer {
    const known = this.#known.get(id);
    if (known?.container.state !== "running") throw new Error(`container "${id}" is not running`);
    return known;
  }

  allRunning(): EngineContainer[] {
    return [...this.#known.values()].filter(({ container }) => container.state === "running");
  }

  roots(): ContainerRoot[] {
    return this.allRunning().map(({ kept: { sandboxId, name }, pid }) => ({ sandboxId, name, pid }));
  }

  async start(spec: ContainerSpec): Promise<Container> {
    const known = this.#known.get(spec.id);
    if (known) return known.container;
    const { share, pods, images, cpus } = this.#options;
    const pod = pods.get(spec.sandboxId);
    if (!pod)
      throw new ContainerStartError("CreateContainerError", `pod sandbox "${spec.sandboxId}" not found`);
    const target = spec.targetId === undefined ? undefined : this.#targetOf(spec.targetId);
    mkdirSync(dirname(spec.terminationMessagePath), { recursive: true });
    writeFileSync(spec.terminationMessagePath, "", { flag: "a" });
    chmodSync(spec.terminationMessagePath, 0o666);
    const { id, sandboxId, name, attempt, annotations, logPath, tty } = spec;
    const kept: Kept = { id, sandboxId, name, attempt, annotations, logPath, tty };
    const body = containerBody(spec, {
      image: await images.load(spec.image),
      labels: { ...share.labels, [labels.container]: JSON.stringify(kept) },
      pause: pod.pause,
      processesOf: target ?? (pod.shareProcessNamespace ? pod.pause : undefined),
      pod,
      cpus,
    });
    const inEngine = await share.docker
      .createContainer({ ...body, name: `${share.group}-${spec.id}` })
      .catch((error: unknown) => {
        throw startError(messageOf(error));
      });
    try {
      await inEngine.start();
    } catch (error) {
      await inEngine.remove({ force: true, v: true });
      throw startError(messageOf(error));
    }
    const { State } = await inEngine.inspect();
    return (await this.#keep(kept, inEngine, State, false)).container;
  }

  #targetOf(id: string): string {
    try {
      return this.running(id).inEngine.id;
    } catch (error) {
      throw new ContainerStartError("CreateContainerError", messageOf(error));
    }
  }

  /** Knows a container from now on, and watches it to its end, unless that was before this daemon. */
  async #keep(
    kept: Kept,
    inEngine: Docker.Container,
    state: EngineState,
    adopted: boolean,
  ): Promise<EngineContainer> {
    const { id, sandboxId, name, attempt, annotations } = kept;
    const container: Container = {
      id,
      sandboxId,
      name,
      attempt,
      annotations,
      state: "running",
      startedAt: state.StartedAt,
    };
    const known = { kept, container, inEngine, pid: state.Pid, ended: Promise.resolve() };
    const log = new EngineLog(inEngine, kept.logPath, kept.tty);
    if (state.Running || !adopted) {
      await log.follow();
      known.ended = this.#toItsEnd(known, log);
      known.ended.catch((error: unknown) => {
        log.close();
        if (!this.#closed) this.#options.logger.error("container end", { id, error: messageOf(error) });
      });
    } else {
      await log.finish();
      finish(container, state);
    }
    this.#known.set(id, known);
    return known;
  }

  async #toItsEnd({ inEngine, container }: EngineContainer, log: EngineLog): Promise<void> {
    await inEngine.wait();
    await log.finish();
    finish(container, (await inEngine.inspect()).State);
    if (!this.#closed) this.#options.onExit(container);
  }

  async stop(id: string, gracePeriodSeconds: number): Promise<void> {
    const known = this.#known.get(id);
    if (known?.container.state !== "running") return;
    const stopping =
      gracePeriodSeconds > 0
        ? known.inEngine.stop({ t: Math.ceil(gracePeriodSeconds) })
        : known.inEngine.kill({ signal: "SIGKILL" });
    try {
      await stopping;
    } catch (error) {
      // It has ended by itself.
      if (!isStatus(error, 304, 404, 409)) throw error;
    }
    await known.ended;
  }

  async remove(id: string): Promise<void> {
    await this.stop(id, 0);
    const known = this.#known.get(id);
    this.#known.delete(id);
    if (known) await orMissing(known.inEngine.remove({ force: true, v: true }) as Promise<unknown>);
  }

  /** Ends and forgets all containers of a pod. */
  async removeAllOf(sandboxId: string): Promise<void> {
    const ids = this.list().filter((container) => container.sandboxId === sandboxId);
    await Promise.all(ids.map(({ id }) => this.remove(id)));
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.allRunning().map(({ kept }) => this.stop(kept.id, 0)));
  }

  /** What becomes of them is for the next one to find. */
  close(): void {
    this.#closed = true;
  }
}

function finish(container: Container, state: EngineState): void {
  Object.assign(container, { state: "exited", finishedAt: state.FinishedAt, exitCode: state.ExitCode });
  if (state.OOMKilled) container.oomKilled = true;
}
