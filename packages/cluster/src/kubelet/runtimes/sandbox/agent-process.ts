/** The agent as a process of this machine: where it is written down, and how it is ended from outside. */
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isAlive, signalProcess, waitForExit, type ProcessIdentity } from "@kws/base/process";
import { groupNameOf, removeControlGroups } from "./cgroups.ts";
import { childrenOf } from "./processes.ts";

/** The longest path that a Unix socket may have on Linux, without the final zero. */
const longestSocketPath = 107;
const killTimeoutMs = 10_000;

/** The first process of the agent's namespaces, whose end is the end of all in them; undefined where none was started. */
export async function readAgent(dataDir: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(join(dataDir, "agent.json"), "utf8").catch(() => undefined);
  if (!text) return undefined;
  const agent = JSON.parse(text) as ProcessIdentity;
  return isAlive(agent) ? agent : undefined;
}

export async function recordAgent(dataDir: string, agent: ProcessIdentity): Promise<void> {
  await writeFile(join(dataDir, "agent.json"), JSON.stringify(agent), { mode: 0o600 });
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
  const containers = join(dataDir, "containers");
  const ids = await readdir(containers).catch(() => []);
  removeControlGroups(groupNameOf(dataDir), ids);
  // The kernel makes an overlay's inner work folder without any permission: let its owner remove it.
  for (const id of ids) await chmod(join(containers, id, "work", "work"), 0o700).catch(() => undefined);
  for (const name of ["agent.json", "agent.pid", "agent.sock"])
    await rm(join(dataDir, name), { force: true });
  await rm(shortSocketPath(dataDir, runtimeDir), { force: true });
  await rm(join(dataDir, "run"), { recursive: true, force: true });
  return agent !== undefined;
}

/** Where the agent listens: in the cluster's own folder, or in a short one where that path is too long for a socket. */
export async function prepareSocketPath(dataDir: string, runtimeDir?: string): Promise<string> {
  const path = join(dataDir, "agent.sock");
  if (Buffer.byteLength(path) <= longestSocketPath) return path;
  const folder = shortFolder(runtimeDir);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (!runtimeDir) await chmod(folder, 0o700); // Fails where the folder is somebody else's.
  return shortSocketPath(dataDir, runtimeDir);
}

function shortSocketPath(dataDir: string, runtimeDir?: string): string {
  return join(
    shortFolder(runtimeDir),
    `${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}.sock`,
  );
}

function shortFolder(runtimeDir?: string): string {
  return runtimeDir ?? `/tmp/kws-${process.getuid?.() ?? 0}`;
}
