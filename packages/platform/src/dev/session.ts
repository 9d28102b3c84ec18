/**
 * One service in development: its dev container is in its place, changes of the source reach it, and the service comes back when
 * the session ends. What happens is told as events; all that giving back needs is in the cluster.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { buildImages } from "../images/build.ts";
import type { DevRule } from "../project/schema.ts";
import type { ProjectService } from "../project/workspace.ts";
import type { Connection, Provider } from "../providers/provider.ts";
import type { HeldLease, Holder } from "../services/lease.ts";
import { claim } from "./claim.ts";
import { untilCheckedOut } from "./checkout.ts";
import { devTemplate } from "./container.ts";
import { Control } from "./control.ts";
import type { DevEvent, DevState, Happening } from "./events.ts";
import type { DevPlan } from "./plan.ts";
import { type DevPod, followLog, type PodWatchOptions, watchPods } from "./pods.ts";
import { react } from "./rules.ts";
import { readSupervisor } from "./supervisor.ts";
import { giveBack, swapIn } from "./swap.ts";
import { readable } from "./sync/entry.ts";
import { containerRemote, type Remote } from "./sync/remote.ts";
import { startSync, type Sync } from "./sync/sync.ts";
import { type FolderWatcher, watchFolder } from "./sync/watch.ts";

export interface DevOptions {
  service: ProjectService;
  plan: DevPlan;
  namespace: string;
  /** The workspace's name, for images. */
  workspace: string;
  provider: Provider;
  connection: Connection;
  /** The path of the program. */
  kubectl: string;
  cache: string;
  env: NodeJS.ProcessEnv;
  holder: Holder;
  /** Ends the session of whoever has the service. */
  takeOver: boolean;
  /** For the dev container to run. */
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Ends what is being begun; a session that has begun ends when it is disposed of. */
  signal: AbortSignal;
  onEvent: (event: DevEvent) => void;
}

/** Gives the service back when it is disposed of, unless somebody else has it. */
export interface DevSession extends AsyncDisposable {
  service: string;
  /** Starts the command again, as a change would. */
  restart(): Promise<void>;
  /** Resolves with what ended the session from elsewhere: somebody took the service over, or gave it back. */
  ended: Promise<UserError>;
}

/** Lines of a container that runs already when the session begins. */
const earlierLines = 10;

/** Resolves when the dev container runs. Throws, with the service given back, where it cannot. */
export async function startDev(options: DevOptions): Promise<DevSession> {
  const session = new Session(
    options,
    await claim(options.service.name, { ...options, client: options.connection.client }),
  );
  try {
    await session.begin();
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
  return session;
}

class Session implements DevSession {
  readonly service: string;
  readonly ended: Promise<UserError>;
  readonly #options: DevOptions;
  readonly #lease: HeldLease;
  readonly #over = new AbortController();
  /** The container sees the folder itself; else its files are copied. */
  readonly #mounted: boolean;
  readonly #remote: Remote;
  readonly #control: Control;
  readonly #background: Promise<unknown>[] = [];
  readonly #changed = new Set<string>();
  #work: Promise<void> | undefined;
  #watcher: FolderWatcher | undefined;
  #sync: Promise<Sync> | undefined;
  #image: string | undefined;
  #pod: DevPod | undefined;
  /** Ends what belongs to one run of the container. */
  #run: { id: string; over: AbortController } | undefined;
  #current: DevState = "starting";
  #exitCode: number | undefined;
  /** The last state that was told. */
  #told = "";
  /** Something has changed that nobody told the command: it may run already, in a container that is not known to. */
  #stale = false;
  #begun = Promise.withResolvers<void>();

  constructor(options: DevOptions, lease: HeldLease) {
    const { service, plan, namespace, connection, kubectl, env } = options;
    this.service = service.name;
    this.#options = options;
    this.#lease = lease;
    this.#mounted = options.provider.sharesFiles === true;
    this.#image = plan.image;
    const { kubeconfig } = connection;
    const pod = () => this.#pod?.name ?? "";
    this.#remote = containerRemote({ kubeconfig, namespace, pod, container: plan.container, kubectl, env });
    this.#control = new Control(this.#remote);
    const ended = Promise.withResolvers<UserError>();
    this.ended = ended.promise;
    lease.signal.addEventListener("abort", () => ended.resolve(lease.signal.reason as UserError), {
      once: true,
    });
  }

  async begin(): Promise<void> {
    const { plan, signal, timeoutMs } = this.#options;
    // All that may fail comes before the service is touched.
    if (this.#mounted) {
      this.#watcher = await watchFolder({
        root: plan.source,
        // The container does not see what is kept: something else is mounted there.
        ignore: [...plan.ignore, ...plan.keep.map((path) => `/${path}`)],
        signal: this.#over.signal,
        onBatch: (paths) => this.#onChange(paths.map(readable)),
        onError: (error) => this.#problem(error),
      });
    }
    if (plan.target !== undefined) this.#image = await this.#build(plan.target);
    signal.throwIfAborted();
    if (this.#mounted) {
      // Mounting over it makes the folder, as root: the person's own is better.
      for (const path of plan.keep) await mkdir(join(plan.source, path), { recursive: true });
    }
    this.#stale = await this.#swap();
    this.#begun.promise.catch(() => {});
    const timeout = AbortSignal.timeout(timeoutMs);
    const stop = AbortSignal.any([signal, timeout]);
    const onAbort = () =>
      this.#begun.reject(
        timeout.aborted
          ? new UserError(`the dev container of ${this.service} did not start in ${timeoutMs / 1000} s`, {
              code: "timeout",
              fix: `See \`kubectl describe pods -n ${this.#options.namespace} -l kws.dev/dev=${this.service}\`.`,
            })
          : signal.reason,
      );
    stop.addEventListener("abort", onAbort, { once: true });
    this.#background.push(watchPods(this.#podOptions(this.#over.signal), (pod) => this.#onPod(pod)));
    try {
      await this.#begun.promise;
    } finally {
      stop.removeEventListener("abort", onAbort);
    }
  }

  restart(): Promise<void> {
    return this.#control.restart();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error("the session is over"));
    this.#run?.over.abort();
    this.#watcher?.close();
    this.#control.close();
    try {
      if (!this.#lease.signal.aborted) await this.#giveBack();
    } finally {
      await this.#lease[Symbol.asyncDispose]();
      await Promise.allSettled([...this.#background, this.#work, this.#sync]);
      this.#state("stopped");
    }
  }

  async #giveBack(): Promise<void> {
    const { connection, namespace, plan } = this.#options;
    try {
      await giveBack(connection.client, { ...plan, namespace }, this.service);
      this.#emit({ kind: "note", message: `${this.service} is given back` });
    } catch (error) {
      throw new UserError(`${this.service} could not be given back: ${messageOf(error)}`, {
        fix: `Run \`kws service down ${this.service}\` when the cluster answers.`,
        cause: error,
      });
    }
  }

  #podOptions(signal: AbortSignal): PodWatchOptions {
    const { connection, namespace, plan, clock } = this.#options;
    return { connection, service: this.service, namespace, container: plan.container, clock, signal };
  }

  /** True where the service was held already. */
  async #swap(): Promise<boolean> {
    this.#state("starting");
    const { service, plan, namespace, connection, holder, clock } = this.#options;
    const mark = {
      service: service.name,
      by: `${holder.user}@${holder.host}`,
      since: new Date(clock()).toISOString(),
      container: plan.container,
    };
    return swapIn(connection.client, { ...plan, namespace }, mark, (original) =>
      devTemplate(original, {
        service: service.name,
        container: plan.container,
        command: plan.command,
        env: {},
        workdir: plan.workdir,
        keep: plan.keep,
        debugged: plan.debugger !== undefined,
        ...(this.#image === undefined ? {} : { image: this.#image }),
        ...(this.#mounted ? { mount: plan.source } : {}),
      }),
    );
  }

  #onPod(pod: DevPod | undefined): void {
    this.#pod = pod;
    if (pod === undefined) return;
    if (pod.fault !== undefined) this.#onFault(pod, pod.fault);
    const id = `${pod.uid}/${pod.restarts}`;
    if (!pod.running || this.#run?.id === id) {
      this.#state(this.#current);
      return;
    }
    const first = this.#run === undefined;
    this.#run?.over.abort();
    this.#control.close();
    const over = new AbortController();
    this.#run = { id, over };
    this.#state("running");
    this.#begun.resolve();
    if (!this.#mounted) this.#sync ??= this.#copy();
    else if (this.#stale) this.#restart();
    this.#stale = false;
    this.#background.push(this.#readLog(pod, AbortSignal.any([this.#over.signal, over.signal]), first));
  }

  #onFault(pod: DevPod, { reason, message }: { reason: string; message: string }): void {
    const noShell = /"?sh"?:.*(not found|no such file)/i.test(message);
    const error = new UserError(`the dev container of ${this.service} cannot run: ${reason}: ${message}`, {
      fix: noShell
        ? "Its image has no shell: name one that has with dev.image or a stage of the Dockerfile with dev.target."
        : `See \`kubectl describe pod ${pod.name} -n ${this.#options.namespace}\`.`,
    });
    if (this.#run === undefined) this.#begun.reject(error);
    else this.#problem(error);
  }

  async #readLog(pod: DevPod, signal: AbortSignal, first: boolean): Promise<void> {
    for await (const { time, text } of followLog(
      this.#podOptions(signal),
      pod,
      first ? earlierLines : undefined,
    )) {
      const event = readSupervisor(text);
      if (event === undefined) this.#emit({ kind: "log", time, text });
      else if (event.kind === "ended") this.#state("ended", event.exitCode);
      else this.#state(event.kind === "started" ? "running" : "waiting");
    }
  }

  /** Into this container and those after it. */
  #copy(): Promise<Sync> {
    const { plan } = this.#options;
    const sync = startSync({
      local: plan.source,
      remote: this.#remote,
      folder: plan.workdir,
      ignore: plan.ignore,
      direction: "both",
      signal: this.#over.signal,
      onBatch: ({ direction, initial, paths, removed }) => {
        // The first files of a container let its command begin.
        if (initial) this.#restart();
        else if (direction === "up") this.#onChange([...paths, ...removed]);
      },
      onProblem: ({ path, message, fix }) =>
        this.#emit({
          kind: "problem",
          message: path === undefined ? message : `${path}: ${message}`,
          ...(fix === undefined ? {} : { fix }),
        }),
    });
    sync.catch((error: unknown) => this.#begun.reject(error));
    return sync;
  }

  #restart(): void {
    this.#background.push(this.#control.restart().catch((error: unknown) => this.#problem(error)));
  }

  /** Changes that come while others are worked on are worked on together. */
  #onChange(paths: string[]): void {
    for (const path of paths) this.#changed.add(path);
    this.#work ??= this.#react().finally(() => {
      this.#work = undefined;
    });
  }

  async #react(): Promise<void> {
    const { plan } = this.#options;
    const { signal } = this.#over;
    while (this.#changed.size > 0 && !signal.aborted) {
      await untilCheckedOut(plan.source, signal).catch(() => undefined);
      const paths = [...this.#changed].toSorted();
      this.#changed.clear();
      const { action, commands } = react(plan.rules, paths);
      this.#emit({ kind: "change", paths, action });
      try {
        await this.#do(action, commands);
      } catch (error) {
        this.#problem(error);
      }
    }
  }

  async #do(action: DevRule["action"], commands: string[][]): Promise<void> {
    if (action === "rebuild") {
      this.#image = await this.#build();
      await this.#swap();
      return;
    }
    if (action === "sync") return;
    this.#stale = this.#pod?.running !== true;
    if (this.#stale) return;
    for (const command of commands) await this.#command(command);
    await this.#control.restart();
  }

  async #command(command: string[]): Promise<void> {
    const { plan, clock } = this.#options;
    const onLine = (text: string) => this.#emit({ kind: "log", time: new Date(clock()).toISOString(), text });
    const exitCode = await this.#control.run(command, plan.workdir, onLine, this.#over.signal);
    if (exitCode === 0) return;
    throw new UserError(
      `\`${command.join(" ")}\` ended with exit code ${exitCode ?? "unknown"} in ${this.service}`,
      {
        fix: "Correct what it complains about; the next change runs it again.",
      },
    );
  }

  /** The reference of an image built from the folder as it is. */
  async #build(target?: string): Promise<string> {
    const { service, workspace, provider, cache, env, signal } = this.#options;
    const before = this.#current;
    this.#state("building");
    const { build } = service.config;
    const config =
      target === undefined || build === undefined
        ? service.config
        : { ...service.config, build: { ...build, target } };
    const { images } = await buildImages({ ...service, config }, provider, workspace, {
      cache,
      env,
      signal: AbortSignal.any([signal, this.#over.signal]),
      ...(target === undefined ? {} : { tag: "dev-container" }),
      onWarning: (message) => this.#emit({ kind: "note", message }),
    }).catch((error: unknown) => {
      this.#state(before);
      throw error;
    });
    const [first] = images;
    const own = images.find(({ repository }) => this.#image?.startsWith(`${repository}@`)) ?? first;
    if (own === undefined) throw new UserError(`${service.name} has no image to build`, { code: "config" });
    return `${own.repository}@${own.digest}`;
  }

  /** Told where it differs from what was told last. */
  #state(state: DevState, exitCode?: number): void {
    if (state !== this.#current) this.#exitCode = undefined;
    this.#current = state;
    this.#exitCode = exitCode ?? this.#exitCode;
    const event = {
      kind: "state" as const,
      state,
      ready: state === "running" && this.#pod?.ready === true,
      ...(this.#pod === undefined ? {} : { pod: this.#pod.name }),
      ...(this.#exitCode === undefined ? {} : { exitCode: this.#exitCode }),
    };
    const told = JSON.stringify(event);
    if (told === this.#told) return;
    this.#told = told;
    this.#emit(event);
  }

  /** What fails because the session ends is no problem of anybody's. */
  #problem(error: unknown): void {
    if (this.#over.signal.aborted) return;
    const { at, fix } = error instanceof UserError ? error : {};
    const message = `${at === undefined ? "" : `${at}: `}${messageOf(error)}`;
    this.#emit({ kind: "problem", message, ...(fix === undefined ? {} : { fix }) });
  }

  #emit(happening: Happening): void {
    this.#options.onEvent({ service: this.service, ...happening });
  }
}
