/** Which stacks are installed or were begun, and how they are. */
import type { KubeClient } from "@kws/kube/client";
import { listReleases } from "../services/releases.ts";
import { serviceStatuses, type ServiceStatus } from "../services/status.ts";
import { listRecords } from "./record.ts";

export interface StackSummary {
  stack: string;
  workspace: string;
  namespace: string;
  state: StackState;
  /** Services that are ready, and all that the stack is to have. */
  ready: number;
  services: number;
  /** Those of them that are not installed. */
  missing: string[];
  updatedAt: string;
}

/** `incomplete`: services are missing, because a start ended before they were installed. */
export type StackState = "ready" | "starting" | "failed" | "incomplete";

export async function listStacks(client: KubeClient, signal?: AbortSignal): Promise<StackSummary[]> {
  const options = signal === undefined ? {} : { signal };
  const [releases, records] = await Promise.all([
    listReleases(client, options),
    listRecords(client, options),
  ]);
  const statuses = await serviceStatuses(client, releases, options);
  const places = new Map([...releases, ...records].map((one) => [`${one.namespace}/${one.stack}`, one]));
  return (
    [...places.values()]
      .map(({ stack, namespace, workspace }): StackSummary => {
        const isHere = (one: { stack: string; namespace: string }) =>
          one.stack === stack && one.namespace === namespace;
        const own = statuses.filter(isHere);
        const record = records.find(isHere);
        const missing = missingOf(record?.services ?? [], own);
        const times = own.map((status) => status.updatedAt);
        return {
          stack,
          workspace,
          namespace,
          state: stateOf(own, missing),
          ready: own.filter((status) => status.state === "ready").length,
          services: own.length + missing.length,
          missing,
          updatedAt: times.toSorted().at(-1) ?? record?.createdAt ?? "",
        };
      })
      // A namespace whose only deployment failed and was removed again.
      .filter(({ services }) => services > 0)
      .toSorted((a, b) => a.stack.localeCompare(b.stack) || a.namespace.localeCompare(b.namespace))
  );
}

/** The wanted services that are not among the installed ones. */
export function missingOf(wanted: string[], installed: { service: string }[]): string[] {
  return wanted.filter((name) => !installed.some(({ service }) => service === name));
}

export function stateOf(services: ServiceStatus[], missing: string[]): StackState {
  if (services.some(({ state }) => state === "failed")) return "failed";
  if (missing.length > 0) return "incomplete";
  return services.every(({ state }) => state === "ready") ? "ready" : "starting";
}
