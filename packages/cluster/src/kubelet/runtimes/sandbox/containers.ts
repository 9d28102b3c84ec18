/** The agent's containers: starts their processes, keeps their output and their final state, runs commands in them. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Logger } from "@kws/base/logger";
import { ContainerStartError, type Container, type ContainerSpec } from "../../runtime.ts";
import { containerMounts } from "../pod-files.ts";
import { createControlGroup, type ControlGroup } from "./cgroups.ts";
import { ContainerLog } from "./log.ts";
import { pinSources, type Pins } from "./pins.ts";
import type { PipeMaker } from "./pipes.ts";
import type { Pod, Pods } from "./pods.ts";
import { exitCodeOf, openPlan, processPlan, startFailure, type Powers, type ProcessSpec } from "./process.ts";
import { childrenOf, killMountNamespace, sendSignal } from "./processes.ts";
import { limitProcesses } from "./rlimit.ts";
import { layOutMounts, layOutRootfs } from "./rootfs.ts";
import { inNewPidNamespace } from "./scripts.ts";
import { explain, LastWords } from "./single-user.ts";
import { systemPath } from "./tools.ts";
import type { ContainerRoot } from "./usage.ts";

/** What the agent's parts share. */
export interface AgentContext {
  /** Folder on disk for writable layers and final states. */
  dataDir: string;
  /** Folder on the agent's own tmpfs. */
  runDir: string;
  tools: string;
  powers: Powers;
  /** Names this cluster's control groups; unique on the machine. */
  groupName: string;
  pipes: PipeMaker;
  logger: Logger;
}

/** A container whose process runs. */
export interface Running {
  spec: ContainerSpec;
  process: ProcessSpec;
  /** The container's first process, as the agent counts. */
  pid: number;
  stdin: Socket | undefined;
  attached: Set<(stream: "stdout" | "stderr", chunk: Buffer) => void>;
  group: ControlGroup;
  /** Words before any command that is to run in it. */
  limits: string[];
  exited: Promise<Container>;
}

export class Containers {
  readonly #context: AgentContext;
  readonly #pods: Pods;
  readonly #onExit: (container: Container) => void;
  readonly #known = new Map<string, Container>();
  readonly #running = new Map<string, Running>();

  /** Takes over the final states that an earlier agent left; what ran then has been killed with it. */
  constructor(context: AgentContext, pods: Pods, onExit: (container: Container) => void) {
    this.#context = context;
    this.#pods = pods;
    this.#onExit = onExit;
    mkdirSync(join(context.dataDir, "containers"), { recursive: true });
    for (const id of readdirSync(join(context.dataDir, "containers"))) {
      const file = join(this.#folder(id), "container.json");
      if (!existsSync(file)) {
        removeTree(this.#folder(id));
        continue;
      }
      const container = JSON.parse(readFileSync(file, "utf8")) as Container;
      if (container.state === "running") {
        Object.assign(container, { state: "exited", exitCode: 137, finishedAt: new Date().toISOString() });
        writeFileSync(file, JSON.stringify(container));
      }
      this.#known.set(id, container);
    }
  }

  list(): Container[] {
    return [...this.#known.values()];
  }

  /** The first process of every container that runs. */
  roots(): ContainerRoot[] {
    return [...this.#running.values()].map(({ spec: { sandboxId, name }, pid }) => ({
      sandboxId,
      name,
      pid,
    }));
  }

  running(id: string): Running | undefined {
    return this.#running.get(id);
  }

  async start(spec: ContainerSpec): Promise<Container> {
    const known = this.#known.get(spec.id);
    if (known) return known;
    const pod = this.#pods.get(spec.sandboxId);
    if (!pod)
      throw new ContainerStartError("CreateContainerError", `pod sandbox "${spec.sandboxId}" not found`);
    if (!/^[\w-][\w.-]*$/.test(spec.id))
      throw new ContainerStartError("CreateContainerError", `bad container id "${spec.id}"`);
    let pins: Pins | undefined;
    try {
      pins = await pinSources(join(this.#context.runDir, "pins", spec.id), spec.mounts);
      return await this.#start({ ...spec, mounts: pins.mounts }, pod);
    } catch (error) {
      this.#known.delete(spec.id);
      this.#running.delete(spec.id);
      rmSync(join(this.#context.runDir, "containers", spec.id), { recursive: true, force: true });
      removeTree(this.#folder(spec.id));
      throw error;
    } finally {
      await pins?.release();
    }
  }

  async #start(spec: ContainerSpec, pod: Pod): Promise<Container> {
    const { runDir, tools, powers, pipes } = this.#context;
    const folder = this.#folder(spec.id);
    const tables = join(runDir, "containers", spec.id);
    for (const path of [join(folder, "upper"), join(folder, "work"), tables])
      mkdirSync(path, { recursive: true });
    mkdirSync(dirname(spec.terminationMessagePath), { recursive: true });
    writeFileSync(spec.terminationMessagePath, "", { flag: "a" });
    chmodSync(spec.terminationMessagePath, 0o666);

    const target = spec.targetId === undefined ? undefined : this.#running.get(spec.targetId);
    if (spec.targetId !== undefined && !target) {
      throw new ContainerStartError("CreateContainerError", `container "${spec.targetId}" is not running`);
    }
    const sharesProcesses = target !== undefined || pod.pause !== undefined;
    const rootfs = {
      layers: spec.layers,
      upperDir: join(folder, "upper"),
      workDir: join(folder, "work"),
      mounts: containerMounts(spec, pod.folder),
      shm: join(pod.folder, "shm"),
      tools,
      readOnly: spec.readOnlyRootFilesystem,
      privileged: spec.privileged,
      rootless: powers.rootless,
      hostSys: false,
    };
    const old = `.${randomBytes(8).toString("hex")}`;
    layOutRootfs(tables, rootfs);
    layOutMounts(tables, old, rootfs);

    const processSpec: ProcessSpec = {
      argv: spec.argv,
      env: { HOSTNAME: pod.spec.hostname, ...spec.env },
      cwd: spec.cwd,
      user: spec.user,
      capabilities: spec.capabilities,
      privileged: spec.privileged,
      allowPrivilegeEscalation: spec.allowPrivilegeEscalation,
      ownsStdin: spec.stdin,
      tty: spec.tty,
    };
    const group = createControlGroup(this.#context.groupName, spec.sandboxId, spec.id, {
      ...spec.limits,
      processes: pod.spec.processLimit,
    });
    const limits = group.limitsProcesses || !powers.rootless ? [] : limitProcesses(pod.spec.processLimit);
    // A terminal's stdin stays open, since its end would hang the terminal up.
    const input = spec.stdin || spec.tty ? await pipes.input() : undefined;
    const [out, err] = await Promise.all([pipes.output(), pipes.output()]);
    const plan = openPlan(runDir, processPlan(processSpec, powers));
    const nothing = openSync("/dev/null", "r");
    const log = new ContainerLog(spec.logPath);
    const [program = "", ...words] = [
      ...limits,
      "nsenter",
      ...pod.join,
      ...(target && !pod.pause ? [`--pid=/proc/${target.pid}/ns/pid`] : []),
      "unshare",
      "--mount",
      "--propagation",
      "private",
      ...(sharesProcesses ? [] : inNewPidNamespace),
      "sh",
      join(tools, "enter"),
      tables,
      join(tables, "root"),
      old,
      spec.tty ? "tty" : "plain",
      powers.rootless ? "binds" : "nodes",
      ...group.joinFiles,
    ];
    const child = spawn(program, words, {
      env: { PATH: systemPath, ...(sharesProcesses ? { tell_namespace: "yes" } : {}) },
      stdio: [input?.childEnd ?? nothing, out.childEnd, err.childEnd, plan, "pipe"],
    });
    for (const fd of [input?.childEnd, nothing, out.childEnd, err.childEnd, plan])
      if (fd !== undefined) closeSync(fd);
    input?.stream.on("error", () => undefined); // The container closed its stdin.

    const attached: Running["attached"] = new Set();
    const lastWords = powers.rootless && spec.user.uid === 0 ? new LastWords() : undefined;
    const keep = (stream: "stdout" | "stderr") => (chunk: Buffer) => {
      log.write(stream, chunk);
      lastWords?.hear(chunk);
      for (const listener of attached) listener(stream, chunk);
    };
    out.stream.on("data", keep("stdout"));
    err.stream.on("data", keep(spec.tty ? "stdout" : "stderr"));
    const drained = Promise.all([once(out.stream, "close"), once(err.stream, "close")]);
    const ended = endOf(child);

    const { failure, namespace } = await startOutcome(child, spec.argv[0] ?? "");
    if (failure) {
      await ended;
      input?.stream.destroy();
      log.close();
      group.remove();
      throw failure;
    }
    const pid = childrenOf(child.pid ?? 0)[0] ?? 0;
    const container: Container = {
      id: spec.id,
      sandboxId: spec.sandboxId,
      name: spec.name,
      attempt: spec.attempt,
      state: "running",
      startedAt: new Date().toISOString(),
      annotations: spec.annotations,
    };
    const exited = (async () => {
      const code = await ended;
      if (namespace) killMountNamespace(namespace);
      await drained;
      input?.stream.destroy();
      log.close();
      if (code !== 0 && lastWords) explain(lastWords, spec.terminationMessagePath);
      const oomKilled = group.oomKills() > 0 && code === 137;
      group.remove();
      Object.assign(container, { state: "exited", finishedAt: new Date().toISOString(), exitCode: code });
      if (oomKilled) container.oomKilled = true;
      this.#running.delete(spec.id);
      rmSync(tables, { recursive: true, force: true });
      if (this.#known.has(spec.id)) this.#save(container);
      this.#onExit(container);
      return container;
    })();
    exited.catch((error: unknown) =>
      this.#context.logger.error("container end", { id: spec.id, error: String(error) }),
    );
    this.#known.set(spec.id, container);
    this.#running.set(spec.id, {
      spec,
      process: processSpec,
      pid,
      stdin: input?.stream,
      attached,
      group,
      limits,
      exited,
    });
    this.#save(container);
    return container;
  }

  async stop(id: string, gracePeriodSeconds: number): Promise<void> {
    const running = this.#running.get(id);
    if (!running) return;
    if (gracePeriodSeconds > 0) {
      sendSignal(running.pid, signalName(running.spec.stopSignal));
      const timer = new AbortController();
      const grace = new Promise<void>((resolve) => {
        const handle = setTimeout(resolve, gracePeriodSeconds * 1000);
        timer.signal.addEventListener("abort", () => clearTimeout(handle));
      });
      await Promise.race([running.exited, grace]);
      timer.abort();
    }
    if (this.#running.has(id)) sendSignal(running.pid, "SIGKILL");
    await running.exited;
  }

  async remove(id: string): Promise<void> {
    await this.stop(id, 0);
    this.#known.delete(id);
    if (/^[\w-][\w.-]*$/.test(id)) removeTree(this.#folder(id));
  }

  /** Ends and forgets all containers of a pod. */
  async removeAllOf(sandboxId: string): Promise<void> {
    const ids = this.list().filter((container) => container.sandboxId === sandboxId);
    await Promise.all(ids.map(({ id }) => this.remove(id)));
  }

  /** Kills everything, for the agent's own end. */
  async stopAll(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((id) => this.stop(id, 0)));
  }

  #folder(id: string): string {
    return join(this.#context.dataDir, "containers", id);
  }

  #save(container: Container): void {
    writeFileSync(join(this.#folder(container.id), "container.json"), JSON.stringify(container));
  }
}

/** Resolves once the program runs, or with the reason why it does not; and with its mount namespace where it was asked for that. */
export async function startOutcome(
  child: ChildProcess,
  program: string,
): Promise<{ failure?: ContainerStartError | undefined; namespace?: string | undefined }> {
  let said = "";
  const status = child.stdio[4];
  if (!status) throw new Error("no status descriptor");
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    status.once("close", resolve);
    status.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      // The process that waits for the container keeps the descriptor open: success has no end of file.
      if (said === "started\n" || said.endsWith("\nstarted\n")) resolve();
    });
  });
  status.destroy();
  const [, namespace, rest = ""] = /^(?:namespace (\S+)\n)?([^]*)$/.exec(said) ?? [];
  return { failure: startFailure(rest, program), namespace };
}

export function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(exitCodeOf(code, signal)));
  });
}

function signalName(name: string | undefined): NodeJS.Signals {
  const upper = (name ?? "SIGTERM").toUpperCase();
  const full = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  return isSignal(full) ? full : "SIGTERM";
}

const signals = new Set(
  ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CONT", "STOP", "WINCH"].map(
    (s) => `SIG${s}`,
  ),
);

function isSignal(name: string): name is NodeJS.Signals {
  return signals.has(name);
}

/** The kernel makes the overlay's inner work folder without any permission, and images hold folders without write permission. */
function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    openFolders(path);
    rmSync(path, { recursive: true, force: true });
  }
}

function openFolders(path: string): void {
  chmodSync(path, 0o700);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) openFolders(join(path, entry.name));
  }
}
