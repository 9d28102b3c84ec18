/** The agent as a process of this machine: where it is written down, and how it is ended from outside. */
import { chmod, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { identify, isAlive, signalProcess, waitForExit, type ProcessIdentity } from "@kws/base/process";
import { removeSocket } from "../../../sockets.ts";
import { groupNameOf, removeControlGroups } from "./cgroups.ts";
import { childrenOf } from "./processes.ts";

const killTimeoutMs = 10_000;

/** The first process of the agent's namespaces, whose end is the end of all in them; undefined where none was started. */
export async function readAgent(dataDir: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(join(dataDir, "agent.json"), "utf8").catch(() => undefined);
  if (!text) return undefined;
  const agent = JSON.parse(text) as ProcessIdentity;
  return isAlive(agent) ? agent : undefined;
}

export const agentSocket = (dataDir: string): string => join(dataDir, "agent.sock");

/** Through which the cluster's network reaches the host's loopback services. */
export const hostSocket = (dataDir: string): string => join(dataDir, "host.sock");

export async function recordAgent(dataDir: string, agent: ProcessIdentity): Promise<void> {
  await replaceFile(join(dataDir, "agent.json"), JSON.stringify(agent), { mode: 0o600 });
}

/** Writes down the agent's own process, below the first one, for those who ask what it weighs. */
export async function recordAgentPid(dataDir: string, agent: ProcessIdentity): Promise<void> {
  await writeFile(join(dataDir, "agent.pid"), String(childrenOf(agent.pid)[0] ?? agent.pid));
}

export async function killAgent(agent: ProcessIdentity): Promise<void> {
  signalProcess(agent, "SIGKILL");
  if (!(await waitForExit(agent, killTimeoutMs))) throw new Error(`process ${agent.pid} does not end`);
}

/**
 * Ends a cluster's agent, whether or not it answers, with all its containers, and removes what it leaves outside of its
 * namespaces. True when there was one.
 */
export async function stopAgent(dataDir: string, runtimeDir?: string): Promise<boolean> {
  const agent = await readAgent(dataDir);
  if (agent) await killAgent(agent);
  const unrecorded = await killUnrecorded(dataDir);
  const containers = join(dataDir, "containers");
  const ids = await readdir(containers).catch(() => []);
  removeControlGroups(groupNameOf(dataDir));
  // The kernel makes an overlay's inner work folder without any permission: let its owner remove it.
  for (const id of ids) await chmod(join(containers, id, "work", "work"), 0o700).catch(() => undefined);
  for (const name of ["agent.json", "agent.pid"]) await rm(join(dataDir, name), { force: true });
  for (const socket of [agentSocket(dataDir), hostSocket(dataDir)]) await removeSocket(socket, runtimeDir);
  await rm(join(dataDir, "run"), { recursive: true, force: true });
  return agent !== undefined || unrecorded;
}

/** Ends an agent whose daemon was killed before it could write it down. True when there was one. */
export async function killUnrecorded(dataDir: string): Promise<boolean> {
  let found = false;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const words = (await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "")).split("\0");
    // Its last arguments are the folder and the socket, and a final zero ends them.
    if (!words[0]?.endsWith("unshare") || words.at(-3) !== dataDir) continue;
    const launcher = identify(Number(entry));
    if (launcher === undefined) continue;
    const [first] = childrenOf(launcher.pid);
    const agent = first === undefined ? undefined : identify(first);
    await killAgent(launcher);
    // It was to end with its parent, and has ended once it is gone.
    if (agent !== undefined) await killAgent(agent);
    found = true;
  }
  return found;
}
