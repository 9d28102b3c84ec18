/** Which runtime a cluster has, written down so that its daemon and whoever ends it know; the one place that knows them all. */
import { readFile } from "node:fs/promises";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { HostNode } from "../../images/base-image.ts";
import type { LocalImageStore } from "../../images/store.ts";
import type { ClusterRuntime, RuntimeName } from "./cluster-runtime.ts";
import { readAgent, stopAgent } from "./sandbox/agent-process.ts";
import { preflight } from "./sandbox/preflight.ts";
import { startSandboxRuntime } from "./sandbox/start.ts";

export type ChosenRuntime = { name: "sandbox" } | { name: "docker"; socketPath: string };

/** The one of a cluster for which none was ever chosen, on this machine. */
export const usualRuntime: RuntimeName = process.platform === "linux" ? "sandbox" : "docker";

/** Throws a `UserError` where the environment names an engine that a cluster cannot use. */
export async function chooseRuntime(name: RuntimeName, env: NodeJS.ProcessEnv): Promise<ChosenRuntime> {
  if (name === "sandbox") return { name };
  const { engineSocket } = await import("./docker/engine.ts");
  return { name, socketPath: engineSocket(env, env["HOME"] ?? "") };
}

/** What was written down; a cluster older than the choice has a sandbox. */
export async function readChoice(file: string): Promise<ChosenRuntime> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as ChosenRuntime;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return { name: "sandbox" };
    throw error;
  }
}

export async function writeChoice(file: string, choice: ChosenRuntime): Promise<void> {
  await replaceFile(file, `${JSON.stringify(choice)}\n`, { mode: 0o600 });
}

/** What is missing for it; undefined where it can run containers. */
export async function runtimeProblem(choice: ChosenRuntime): Promise<UserError | undefined> {
  if (choice.name === "sandbox") return preflight();
  const { connectEngine } = await import("./docker/engine.ts");
  try {
    using _engine = await connectEngine(choice.socketPath);
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

export interface RuntimeOptions {
  /** The cluster's name. */
  name: string;
  /** The runtime's own folder within the cluster's data. */
  dataDir: string;
  images: LocalImageStore;
  node: HostNode;
  logger: Logger;
}

export async function startRuntime(choice: ChosenRuntime, options: RuntimeOptions): Promise<ClusterRuntime> {
  if (choice.name === "sandbox") return startSandboxRuntime(options);
  const { startDockerRuntime } = await import("./docker/start.ts");
  return startDockerRuntime({ ...options, socketPath: choice.socketPath });
}

/** Whether a cluster whose daemon is gone has left what holds its containers. */
export async function isHeld(choice: ChosenRuntime, dataDir: string): Promise<boolean> {
  if (choice.name === "sandbox") return (await readAgent(dataDir)) !== undefined;
  const { holdsContainers } = await import("./docker/end.ts");
  return ifThere(holdsContainers(choice.socketPath, dataDir));
}

/** Ends what a daemon has left running. True where there was anything. */
export async function stopRuntime(choice: ChosenRuntime, dataDir: string): Promise<boolean> {
  if (choice.name === "sandbox") return stopAgent(dataDir);
  const { stopDockerRuntime } = await import("./docker/end.ts");
  return ifThere(stopDockerRuntime(choice.socketPath, dataDir));
}

/** After `stopRuntime`: removes what the cluster has outside of its folder. */
export async function resetRuntime(choice: ChosenRuntime, dataDir: string): Promise<void> {
  if (choice.name === "sandbox") return;
  const { resetDockerRuntime } = await import("./docker/end.ts");
  await resetDockerRuntime(choice.socketPath, dataDir);
}

/** Where there is no engine, nothing runs in it. */
async function ifThere(answer: Promise<boolean>): Promise<boolean> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof UserError && error.code === "tool-missing") return false;
    throw error;
  }
}
