/**
 * What the file of a tool tells: the tool's own commands that make, list, start and end clusters. `tool-provider.ts` makes a
 * provider of it.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { UserError } from "@kws/base/errors";
import { ExecError, exec, type ExecResult } from "@kws/base/exec";
import type { ToolName } from "../project/provider-names.ts";
import type { NodeStore } from "./node-store.ts";
import type { KubeconfigRef } from "./provider.ts";

export interface ToolCluster {
  name: string;
  /** What the tool says; nobody has asked the API server. */
  state: "running" | "stopped" | "unreachable";
}

/** One that was given to the tool's file by `ToolWorld`, and that works on any cluster of the tool. */
export interface ClusterTool {
  name: ToolName;
  /** The name of its one cluster; undefined where there may be several. */
  only?: string;
  /** Its Ingress controller, brought along or installed later, is served on the port that `create` is given. */
  servesIngress?: true;
  /** Why its clusters cannot be kept and brought back, where there is more to say than that the tool does not. */
  noSnapshots?: string;
  /** Throws `tool-missing` where it is not installed. */
  version(): Promise<string>;
  list(): Promise<ToolCluster[]>;
  /** Undefined where installing the tool is what makes the cluster. */
  create?(name: string, options: CreateOptions): Promise<void>;
  start(name: string, options: ToolOptions): Promise<void>;
  stop(name: string): Promise<void>;
  /** Removes the cluster with its data. */
  remove(name: string): Promise<void>;
  /** How to reach a cluster that runs. */
  kubeconfig(name: string): Promise<KubeconfigRef>;
  nodes(name: string): Promise<NodeStore[]>;
}

export interface ToolOptions {
  signal?: AbortSignal;
  /** Every line that the tool prints. */
  onLine?: (line: string) => void;
}

export interface CreateOptions extends ToolOptions {
  /** Of this machine, for Ingress hosts. */
  ingressPort: number;
}

export interface ToolWorld {
  env: NodeJS.ProcessEnv;
  home: string;
  /** For a cluster, a kubeconfig of kws's own, so that no tool switches the user's current context. */
  kubeconfig(cluster: string): string;
  signal?: AbortSignal;
}

export interface RunOptions extends ToolOptions {
  /** 20 s unless given. */
  timeoutMs?: number;
  /** For standard input. */
  input?: string;
  env?: NodeJS.ProcessEnv;
}

/** For what takes its time: making and starting clusters. */
export const slowly = 10 * 60_000;

/** Runs a program of a tool; `install` says how to get it, as an imperative sentence. Answers its standard output. */
export function toolRunner(
  program: string,
  install: string,
  { env, signal }: Pick<ToolWorld, "env" | "signal">,
) {
  const attempt = async (args: string[], options: RunOptions = {}): Promise<ExecResult> => {
    try {
      const common = { env, timeoutMs: 20_000, ...(signal === undefined ? {} : { signal }) };
      return await exec(program, args, { ...common, ...options });
    } catch (error) {
      if (!(error instanceof UserError) || error.code !== "tool-missing") throw error;
      throw new UserError(`${program} is not installed`, {
        code: "tool-missing",
        fix: install,
        cause: error,
      });
    }
  };
  const run = async (args: string[], options?: RunOptions): Promise<string> => {
    const result = await attempt(args, options);
    if (result.exitCode !== 0) throw toolFailure(program, result);
    return result.stdout;
  };
  return { run, attempt };
}

/** What a tool's failure means, where its words are known; they are repeated otherwise. */
export function toolFailure(program: string, result: ExecResult): UserError {
  const said = `${result.stdout}\n${result.stderr}`;
  const failed = new ExecError(program, result);
  if (
    /Cannot connect to the Docker daemon|Is the docker daemon running|docker daemon is not running/i.test(
      said,
    )
  ) {
    return new UserError(
      program === "docker" ? "Docker does not run" : `${program} needs Docker, which does not run`,
      {
        code: "tool-missing",
        fix: "Start Docker, or use the embedded cluster: --provider embedded.",
        cause: failed,
      },
    );
  }
  if (/port is already allocated|address already in use|ports are not available/i.test(said)) {
    return new UserError(`${failed.message}: a port of this machine is taken`, {
      code: "conflict",
      fix: "Give another one with --ingress-port, or end what listens there.",
      cause: failed,
    });
  }
  if (/permission denied|insufficient permissions|a password is required|must be root/i.test(said)) {
    return new UserError(failed.message, {
      code: "permission",
      fix: `Allow your user to run ${program}; its documentation says how.`,
      cause: failed,
    });
  }
  return failed;
}

/** Keeps a kubeconfig, which holds keys, for this user alone. */
export async function saveKubeconfig(path: string, text: string): Promise<KubeconfigRef> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, text, { mode: 0o600 });
  return { path };
}
