/** Which providers this machine has, and their clusters. A tool that is broken or slow spoils nothing but its own line. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { type ProviderName, type ToolName, toolNames } from "../project/provider-names.ts";
import { listEmbedded } from "./embedded.ts";
import type { ProviderStatus } from "./provider.ts";
import { madeByKws, toolFolder } from "./tool-provider.ts";
import { openTool } from "./tools.ts";

export interface DetectedProvider {
  provider: ProviderName;
  installed: boolean;
  /** Of the tool. */
  version?: string;
  /** The state of those of a tool is what the tool says: their API servers are not asked. */
  clusters: ProviderStatus[];
  /** Why its clusters could not be listed. */
  problem?: string;
}

export interface DetectOptions {
  /** The data root of kws. */
  data: string;
  env: NodeJS.ProcessEnv;
  home: string;
  signal?: AbortSignal;
  /** For all of them together, who are asked at the same time; five seconds unless given. */
  timeoutMs?: number;
}

/** All but the contexts of kubeconfigs; `embedded` comes first. */
export async function detectProviders(options: DetectOptions): Promise<DetectedProvider[]> {
  const embedded = async (): Promise<DetectedProvider> => ({
    provider: "embedded",
    installed: true,
    clusters: await listEmbedded(options.data),
  });
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 5000);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  const tool = async (provider: ToolName): Promise<DetectedProvider> => {
    const found: DetectedProvider = { provider, installed: true, clusters: [] };
    try {
      return await detectTool(found, provider, { ...options, signal });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (timeout.aborted) return { ...found, problem: "it did not answer in time" };
      if (!(error instanceof UserError)) throw error;
      return { ...found, problem: error.message };
    }
  };
  return Promise.all([embedded(), ...toolNames.map(tool)]);
}

/** Fills in `found` as it learns. */
async function detectTool(
  found: DetectedProvider,
  provider: ToolName,
  { data, env, home, signal }: DetectOptions & { signal: AbortSignal },
): Promise<DetectedProvider> {
  const kubeconfig = (cluster: string) => join(toolFolder(data, provider, cluster), "kubeconfig");
  const tool = await openTool(provider, { env, home, kubeconfig, signal });
  try {
    found.version = await tool.version();
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "tool-missing") throw error;
    return { ...found, installed: false };
  }
  const clusters = await tool.list();
  found.clusters = await Promise.all(
    clusters.map(async ({ name, state }) => {
      return { provider, name, managed: await madeByKws(toolFolder(data, provider, name)), state };
    }),
  );
  return found;
}
