/** Which stacks are installed, and how they are. */
import type { KubeClient } from "@kws/kube/client";
import { listReleases } from "../services/releases.ts";
import { serviceStatuses } from "../services/status.ts";

export interface StackSummary {
  stack: string;
  workspace: string;
  namespace: string;
  state: "ready" | "starting" | "failed";
  /** Services that are ready, and all. */
  ready: number;
  services: number;
  updatedAt: string;
}

export async function listStacks(client: KubeClient, signal?: AbortSignal): Promise<StackSummary[]> {
  const options = signal === undefined ? {} : { signal };
  const releases = await listReleases(client, options);
  const statuses = await serviceStatuses(client, releases, options);
  const places = new Map(releases.map((release) => [`${release.namespace}/${release.stack}`, release]));
  return [...places.values()].map(({ stack, namespace, workspace }) => {
    const own = statuses.filter((status) => status.stack === stack && status.namespace === namespace);
    const failed = own.some((status) => status.state === "failed");
    const ready = own.filter((status) => status.state === "ready").length;
    return {
      stack,
      workspace,
      namespace,
      state: failed ? "failed" : ready === own.length ? "ready" : "starting",
      ready,
      services: own.length,
      updatedAt:
        own
          .map((status) => status.updatedAt)
          .sort()
          .at(-1) ?? "",
    };
  });
}
