/** Starts a cluster's agent in namespaces of its own, or finds the one that already runs, and ends it. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { identify, type ProcessIdentity } from "@kws/base/process";
import type { Logger } from "@kws/base/logger";
import { agentEntry } from "../../../entry.ts";
import { shareHostServices } from "../../../network/host-services.ts";
import { openWayOut } from "../../../network/way-out.ts";
import { prepareSocket } from "../../../sockets.ts";
import type { ClusterRuntime } from "../cluster-runtime.ts";
import {
  agentSocket,
  hostSocket,
  killAgent,
  killUnrecorded,
  readAgent,
  recordAgent,
  recordAgentPid,
  stopAgent,
} from "./agent-process.ts";
import { connectAgent, type AgentClient } from "./client.ts";
import { forwardToHost } from "./forward.ts";
import { preflight } from "./preflight.ts";
import { childrenOf } from "./processes.ts";
import { protocolVersion } from "./protocol.ts";
import { findProgram, systemPath } from "./tools.ts";

export interface SandboxRuntimeOptions {
  /** The runtime's own folder within the cluster's data. */
  dataDir: string;
  logger: Logger;
  /** The API server's Unix socket, for pods; `setApiServer` sets it later. */
  apiServerSocket?: string;
  /** The agent's program, where it is not beside this one. */
  agentEntry?: string;
  /** The program that gives pods a way out, where it is not the machine's own. */
  slirp4netns?: string;
  /** A short folder of the user's own for the socket when `dataDir` is too long for one, such as XDG_RUNTIME_DIR. */
  runtimeDir?: string;
  /** Runs the agent as this user, who must own `dataDir`, where the caller is root and the cluster is not. */
  user?: { uid: number; gid: number };
}

export interface SandboxRuntime extends ClusterRuntime {
  /** The agent's process, as this machine counts. */
  pid: number;
}

const startTimeoutMs = 15_000;

/** Throws a `UserError` that says what the machine lacks. */
export async function startSandboxRuntime(options: SandboxRuntimeOptions): Promise<SandboxRuntime> {
  const { dataDir, logger } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const socketPath = await prepareSocket(agentSocket(dataDir), options.runtimeDir);
  const found = await adopt(dataDir, socketPath);
  const { client, pid } = found ?? (await launch(options, socketPath));
  client.onResolve(forwardToHost);
  if (options.apiServerSocket) await client.call("setApiServer", options.apiServerSocket);
  await connectOutside(options, client, pid);
  logger.info(found ? "agent adopted" : "agent started", { pid });
  return {
    runtime: client.runtime,
    network: client.network,
    pid,
    adopted: found !== undefined,
    setApiServer: async (path) => void (await client.call("setApiServer", path)),
    freeze: async () => void (await client.call("freeze", null)),
    thaw: async () => void (await client.call("thaw", null)),
    closed: client.closed,
    async stop() {
      await client.call("shutdown", null).catch((error: unknown) => {
        logger.warn("agent did not shut down by itself", { error: messageOf(error) });
      });
      client.disconnect();
      await stopAgent(dataDir, options.runtimeDir);
    },
    disconnect: () => client.disconnect(),
  };
}

/** Gives the cluster's network a way out, or at least one to the host's own services. */
async function connectOutside(
  options: SandboxRuntimeOptions,
  client: AgentClient,
  pid: number,
): Promise<void> {
  const { logger, user } = options;
  const program = options.slirp4netns ?? (await findProgram("slirp4netns"));
  const way =
    program === undefined
      ? undefined
      : await openWayOut({ program, pid, ...(user === undefined ? {} : { user }) }).catch(
          (error: unknown) => {
            logger.warn("no way to other networks", { program, error: messageOf(error) });
          },
        );
  await client.call("setWayOut", way?.device ?? null);
  if (way === undefined) return shareHost(options, client);
  let stopping = false;
  void client.closed.then(() => {
    stopping = true;
    way.close();
  });
  const carryOn = async () => {
    await way.closed;
    if (stopping) return;
    logger.warn("the way to other networks has ended", { program });
    await client.call("setWayOut", null);
    await shareHost(options, client);
  };
  carryOn().catch((error: unknown) => logger.warn("the host's services", { error: messageOf(error) }));
}

async function shareHost(options: SandboxRuntimeOptions, client: AgentClient): Promise<void> {
  const path = await prepareSocket(hostSocket(options.dataDir), options.runtimeDir);
  const host = await shareHostServices({
    socketPath: path,
    onPorts(ports) {
      client
        .call("setHostPorts", { path, ports })
        .catch((error: unknown) => options.logger.warn("the host's ports", { error: messageOf(error) }));
    },
  });
  void client.closed.then(() => host.close());
}

/** Throws a `UserError` where it is of a kws whose agent is talked to in another way, and leaves it alone. */
async function adopt(
  dataDir: string,
  socketPath: string,
): Promise<{ client: AgentClient; pid: number } | undefined> {
  const agent = await readAgent(dataDir);
  if (!agent) {
    await killUnrecorded(dataDir);
    return undefined;
  }
  const answered = await greet(socketPath).catch(() => undefined);
  if (answered === undefined) {
    await killAgent(agent); // It lives and does not answer: its containers cannot be saved.
    return undefined;
  }
  const { client, version } = answered;
  if (version === protocolVersion) return { client, pid: agent.pid };
  client.disconnect();
  const age = version < protocolVersion ? "an older" : "a newer";
  throw new UserError(
    `the cluster's containers were started by ${age} kws, and this one cannot take them over`,
    {
      code: "conflict",
      fix: "End them with `kws cluster stop`, which keeps the cluster's data, then run `kws cluster start`; or go on with that kws.",
    },
  );
}

async function greet(socketPath: string): Promise<{ client: AgentClient; version: number }> {
  const client = await connectAgent({ path: socketPath });
  const { version } = await client.call("hello", null);
  return { client, version };
}

async function launch(
  options: SandboxRuntimeOptions,
  socketPath: string,
): Promise<{ client: AgentClient; pid: number }> {
  const { dataDir } = options;
  const rootless = (options.user?.uid ?? process.getuid?.()) !== 0;
  await rm(socketPath, { force: true });
  const logPath = join(dataDir, "agent.log");
  const log = openSync(logPath, "a", 0o600);
  const words = [
    ...(rootless ? ["--user", "--map-root-user"] : []),
    "--net",
    "--mount",
    "--propagation",
    "private",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    // A shell as the first process, since Node does not reap orphans.
    "sh",
    "-c",
    '"$@" & wait $!',
    "sh",
    process.execPath,
    "--max-semi-space-size=1",
    options.agentEntry ?? agentEntry,
    dataDir,
    socketPath,
  ];
  const child = spawn("unshare", words, {
    cwd: "/",
    detached: true,
    ...options.user,
    env: { PATH: systemPath, NODE_OPTIONS: "" },
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the agent ended with exit code ${String(code)}`)));
  });
  failed.catch(() => undefined);
  try {
    const agent = await Promise.race([failed, firstProcess(child.pid ?? 0)]);
    // Before anything else, so that a daemon that dies now leaves an agent that can be found.
    await recordAgent(dataDir, agent);
    const client = await Promise.race([failed, connectSoon(socketPath)]);
    await recordAgentPid(dataDir, agent);
    child.unref();
    return { client, pid: agent.pid };
  } catch (error) {
    await stopAgent(dataDir, options.runtimeDir);
    throw (
      (await preflight()) ??
      new UserError(`the cluster's container runtime did not start: ${messageOf(error)}`, {
        fix: `see ${logPath}`,
        cause: error,
      })
    );
  }
}

/** The first process in the new namespaces, once it is there. */
async function firstProcess(launcher: number): Promise<ProcessIdentity> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const [pid] = childrenOf(launcher);
    const agent = pid === undefined ? undefined : identify(pid);
    if (agent) return agent;
    if (performance.now() > deadline) throw new Error("the agent did not start in time");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function connectSoon(socketPath: string): Promise<AgentClient> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    try {
      const { client } = await greet(socketPath);
      return client;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
