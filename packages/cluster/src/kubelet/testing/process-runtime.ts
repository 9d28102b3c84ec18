/**
 * A Runtime of ordinary processes on the host's loopback, for tests of the kubelet that need no namespaces. A mount appears
 * as a link below the container's working directory: `/etc/config` as `etc/config`.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { connect } from "node:net";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import {
  ContainerStartError,
  type Container,
  type ContainerSpec,
  type PodSandbox,
  type Runtime,
} from "../runtime.ts";

interface Running {
  spec: ContainerSpec;
  child: ChildProcess;
  container: Container;
  root: string;
  exited: Promise<void>;
}

export interface ProcessRuntime extends Runtime {
  /** Everything that was started, in order. */
  started: ContainerSpec[];
  /** Kills what runs and removes all folders. */
  dispose(): Promise<void>;
}

export function createProcessRuntime(dir: string): ProcessRuntime {
  const sandboxes = new Map<string, PodSandbox>();
  const running = new Map<string, Running>();
  const listeners = new Set<(container: Container) => void>();
  const started: ContainerSpec[] = [];
  let addresses = 1;

  const kill = async (id: string, signal: NodeJS.Signals) => {
    const entry = running.get(id);
    if (entry?.container.state !== "running") return;
    entry.child.kill(signal);
    await entry.exited;
  };
  return {
    started,
    async runPodSandbox({ id, name, namespace }) {
      const found = sandboxes.get(id) ?? { id, name, namespace, address: `127.77.0.${(addresses += 1)}` };
      sandboxes.set(id, found);
      return found;
    },
    async removePodSandbox(id) {
      for (const { spec } of running.values()) if (spec.sandboxId === id) await this.removeContainer(spec.id);
      sandboxes.delete(id);
    },
    listPodSandboxes: async () => [...sandboxes.values()],
    async startContainer(spec) {
      const root = await mkdtemp(join(dir, "root-"));
      for (const mount of spec.mounts) {
        if (mount.type !== "bind") continue;
        await mkdir(dirname(join(root, mount.target)), { recursive: true });
        await symlink(mount.source, join(root, mount.target));
      }
      await symlink(spec.terminationMessagePath, join(root, "termination-log"));
      await mkdir(dirname(spec.logPath), { recursive: true });
      const [command = "", ...args] = spec.argv;
      const env = { PATH: "/usr/local/bin:/usr/bin:/bin", ...spec.env };
      const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
      const log = createWriteStream(spec.logPath, { flags: "a" });
      const drained = [record(child.stdout, "stdout", log), record(child.stderr, "stderr", log)];
      try {
        await once(child, "spawn");
      } catch (error) {
        throw new ContainerStartError("RunContainerError", `exec: "${command}": executable file not found`, {
          cause: error,
        });
      }
      const container: Container = {
        id: spec.id,
        sandboxId: spec.sandboxId,
        name: spec.name,
        attempt: spec.attempt,
        state: "running",
        startedAt: new Date().toISOString(),
        annotations: spec.annotations,
      };
      const exited = once(child, "exit").then(async ([code, signal]: (number | NodeJS.Signals | null)[]) => {
        await Promise.all(drained);
        await new Promise<void>((resolve) => log.end(resolve));
        container.state = "exited";
        container.finishedAt = new Date().toISOString();
        container.exitCode =
          typeof code === "number" ? code : 128 + constants.signals[(signal ?? "SIGKILL") as NodeJS.Signals];
        for (const listener of listeners) listener({ ...container });
      });
      running.set(spec.id, { spec, child, container, root, exited });
      started.push(spec);
      return { ...container };
    },
    async stopContainer(id, graceSeconds) {
      const timer = setTimeout(() => void kill(id, "SIGKILL"), graceSeconds * 1000);
      await kill(id, graceSeconds === 0 ? "SIGKILL" : "SIGTERM");
      clearTimeout(timer);
    },
    async removeContainer(id) {
      await kill(id, "SIGKILL");
      const entry = running.get(id);
      if (entry !== undefined) await rm(entry.root, { recursive: true, force: true });
      running.delete(id);
    },
    listContainers: async () => Array.from(running.values(), ({ container }) => ({ ...container })),
    onExit(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async exec(id, { argv: [command = "", ...args] }) {
      const entry = running.get(id);
      if (entry === undefined) throw new Error(`no container ${id}`);
      const child = spawn(command, args, {
        cwd: entry.root,
        env: { ...entry.spec.env, PATH: "/usr/bin:/bin" },
      });
      return {
        stdin: child.stdin,
        stdout: child.stdout,
        stderr: child.stderr,
        resize: () => {},
        exit: once(child, "close").then(([code]: (number | null)[]) => code ?? 137),
        close: () => child.kill("SIGKILL"),
      };
    },
    async dial(host, port) {
      const socket = connect({ host, port });
      await once(socket, "connect");
      return socket;
    },
    async dispose() {
      for (const id of running.keys()) await this.removeContainer(id);
    },
  };
}

async function record(stream: Readable, name: string, log: Writable): Promise<void> {
  let rest = "";
  stream.setEncoding("utf8");
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) log.write(`${new Date().toISOString()} ${name} F ${line}\n`);
  }
  if (rest !== "") log.write(`${new Date().toISOString()} ${name} P ${rest}\n`);
}
