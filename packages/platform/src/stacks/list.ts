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
  return [...new Set(releases.map((release) => release.stack))].map((stack) => {
    const own = statuses.filter((status) => status.stack === stack);
    const first = releases.find((release) => release.stack === stack);
    const failed = own.some((status) => status.state === "failed");
    const ready = own.filter((status) => status.state === "ready").length;
    return {
      stack,
      workspace: first?.workspace ?? "",
      namespace: first?.namespace ?? "",
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
