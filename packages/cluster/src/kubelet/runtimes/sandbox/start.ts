/** Starts a cluster's agent in namespaces of its own, or finds the one that already runs, and ends it. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { agentEntryPath } from "../../../entry.ts";
import type { NetworkDataplane } from "../../../network/state.ts";
import type { Runtime } from "../../runtime.ts";
import { groupNameOf, removeControlGroups } from "./cgroups.ts";
import { connectAgent, type AgentClient } from "./client.ts";
import { forwardToHost } from "./forward.ts";
import { preflight } from "./preflight.ts";
import { childrenOf, signalProcess, startTimeOf } from "./processes.ts";
import { systemPath } from "./tools.ts";

export interface SandboxRuntimeOptions {
  /** The runtime's own folder within the cluster's data. */
  dataDir: string;
  logger: Logger;
  /** The API server's Unix socket, for pods; `setApiServer` sets it later. */
  apiServerSocket?: string;
  /** The agent's program, where it is not beside this one. */
  agentEntry?: string;
  /** A short folder of the user's own for the socket when `dataDir` is too long for one, such as XDG_RUNTIME_DIR. */
  runtimeDir?: string;
  /** Runs the agent as this user, who must own `dataDir`, where the caller is root and the cluster is not. */
  user?: { uid: number; gid: number };
}

export interface SandboxRuntime {
  runtime: Runtime;
  network: NetworkDataplane;
  /** The agent's process, as this machine counts. */
  pid: number;
  /** Whether an agent was found running, with its containers. */
  adopted: boolean;
  setApiServer(socketPath: string): Promise<void>;
  /** Resolves when the agent is gone or the connection to it ended. */
  closed: Promise<void>;
  /** Ends the agent and everything in it. Final states of containers stay on disk. */
  stop(): Promise<void>;
  /** Leaves it running, with its containers, for the next daemon to find. */
  disconnect(): void;
}

/** The longest path that a Unix socket may have on Linux, without the final zero. */
const longestSocketPath = 107;
const startTimeoutMs = 15_000;

interface AgentRecord {
  pid: number;
  startTime: string;
}

/** Throws a `UserError` that says what the machine lacks. */
export async function startSandboxRuntime(options: SandboxRuntimeOptions): Promise<SandboxRuntime> {
  const { dataDir, logger } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const socketPath = await socketPathOf(options);
  const found = await adopt(dataDir, socketPath);
  const { client, pid } = found ?? (await launch(options, socketPath));
  client.onResolve(forwardToHost);
  if (options.apiServerSocket) await client.call("setApiServer", options.apiServerSocket);
  logger.info(found ? "agent adopted" : "agent started", { pid });
  return {
    runtime: client.runtime,
    network: client.network,
    pid,
    adopted: found !== undefined,
    setApiServer: async (path) => void (await client.call("setApiServer", path)),
    closed: client.closed,
    async stop() {
      await client.call("shutdown", null).catch((error: unknown) => {
        logger.warn("agent did not shut down by itself", { error: messageOf(error) });
      });
      client.disconnect();
      await stopSandboxAgent(options);
    },
    disconnect: () => client.disconnect(),
  };
}

/** Ends a cluster's agent whether or not it answers, and removes what it leaves outside of its namespaces. */
export async function stopSandboxAgent(
  options: Pick<SandboxRuntimeOptions, "dataDir" | "runtimeDir">,
): Promise<void> {
  const record = await readRecord(options.dataDir);
  if (record) await kill(record);
  const containers = join(options.dataDir, "containers");
  const ids = await readdir(containers).catch(() => []);
  removeControlGroups(groupNameOf(options.dataDir), ids);
  // The kernel makes an overlay's inner work folder without any permission: let its owner remove it.
  for (const id of ids) await chmod(join(containers, id, "work", "work"), 0o700).catch(() => undefined);
  await rm(join(options.dataDir, "agent.json"), { force: true });
  await rm(await socketPathOf(options), { force: true });
  await rm(join(options.dataDir, "run"), { recursive: true, force: true });
}

async function adopt(
  dataDir: string,
  socketPath: string,
): Promise<{ client: AgentClient; pid: number } | undefined> {
  const record = await readRecord(dataDir);
  if (!record || startTimeOf(record.pid) !== record.startTime) return undefined;
  try {
    const client = await connectAgent(socketPath);
    await client.call("hello", null);
    return { client, pid: record.pid };
  } catch {
    await kill(record); // It lives and does not answer: its containers cannot be saved.
    return undefined;
  }
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
    ...[
      "--net",
      "--mount",
      "--propagation",
      "private",
      "--ipc",
      "--pid",
      "--fork",
      "--kill-child",
      "--mount-proc",
    ],
    // A shell as the first process, since Node does not reap orphans.
    ...["sh", "-c", '"$@" & wait $!', "sh"],
    ...[
      process.execPath,
      "--max-semi-space-size=1",
      options.agentEntry ?? agentEntryPath(),
      dataDir,
      socketPath,
    ],
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
    const client = await Promise.race([failed, connectSoon(socketPath)]);
    const pid = childrenOf(child.pid ?? 0)[0];
    const startTime = pid === undefined ? undefined : startTimeOf(pid);
    if (pid === undefined || startTime === undefined) throw new Error("the agent ended");
    await writeFile(join(dataDir, "agent.json"), JSON.stringify({ pid, startTime } satisfies AgentRecord));
    child.unref();
    return { client, pid };
  } catch (error) {
    for (const pid of childrenOf(child.pid ?? 0)) signalProcess(pid, "SIGKILL");
    throw (
      (await preflight()) ??
      new UserError(`the cluster's container runtime did not start: ${messageOf(error)}`, {
        fix: `see ${logPath}`,
        cause: error,
      })
    );
  }
}

async function connectSoon(socketPath: string): Promise<AgentClient> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    try {
      const client = await connectAgent(socketPath);
      await client.call("hello", null);
      return client;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

async function kill(record: AgentRecord): Promise<void> {
  while (startTimeOf(record.pid) === record.startTime) {
    signalProcess(record.pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function readRecord(dataDir: string): Promise<AgentRecord | undefined> {
  const text = await readFile(join(dataDir, "agent.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as AgentRecord);
}

async function socketPathOf(options: Pick<SandboxRuntimeOptions, "dataDir" | "runtimeDir">): Promise<string> {
  const path = join(options.dataDir, "agent.sock");
  if (Buffer.byteLength(path) <= longestSocketPath) return path;
  const folder = options.runtimeDir ?? `/tmp/kws-${process.getuid?.() ?? 0}`;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (!options.runtimeDir) await chmod(folder, 0o700); // Fails where the folder is somebody else's.
  return join(folder, `${createHash("sha256").update(options.dataDir).digest("hex").slice(0, 16)}.sock`);
}
