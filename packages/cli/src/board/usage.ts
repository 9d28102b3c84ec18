/** What pods use now, for the board. */
import type { KubeClient } from "@kws/kube/client";
import { podResources } from "@kws/platform/services/resources";

export interface Usage {
  /** Cores. */
  cpu: number;
  /** Bytes. */
  memory: number;
}

/** By the pod's name; those that the cluster does not measure are left out. */
export async function usageOf(
  client: KubeClient,
  namespaces: string[],
  signal: AbortSignal,
): Promise<Map<string, Usage>> {
  const all = await Promise.all(
    [...new Set(namespaces)].map((namespace) => podResources(client, namespace, signal)),
  );
  return new Map(
    all.flatMap((pods) =>
      [...pods].flatMap(([pod, { cpu, memory }]): [string, Usage][] =>
        cpu.used === undefined || memory.used === undefined
          ? []
          : [[pod, { cpu: cpu.used, memory: memory.used }]],
      ),
    ),
  );
}
