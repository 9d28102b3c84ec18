/** Why a pod of tests cannot do its work, with the last words of its container. */
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import type { Connection } from "../providers/provider.ts";
import { lastLogLines } from "../services/logs.ts";
import { diagnosePod } from "../stacks/diagnose.ts";

export interface Terminated {
  exitCode: number;
  /** Kubernetes' own word, such as `OOMKilled` or `Error`. */
  reason?: string;
  message?: string;
}

export interface ContainerState {
  waiting?: { reason?: string; message?: string };
  running?: { startedAt?: string };
  terminated?: Terminated;
}

/** The present state of a container; undefined until the node has said something of it. */
export function stateOf(pod: KubeObject, container: string): ContainerState | undefined {
  const statuses = (pod["status"]?.containerStatuses ?? []) as { name: string; state?: ContainerState }[];
  return statuses.find(({ name }) => name === container)?.state;
}

export interface FaultContext {
  connection: Connection;
  namespace: string;
  /** Where kws.yaml speaks of it. */
  at: string;
  /** For messages: `the datastore postgres`. */
  what: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** What keeps the container from running; one that has ended does not run either. Undefined while there is hope. */
export async function podFault(
  pod: KubeObject,
  container: string,
  { connection, namespace, at, what, now }: FaultContext,
): Promise<UserError | undefined> {
  const ended = stateOf(pod, container)?.terminated;
  const lines =
    ended === undefined
      ? []
      : await lastLogLines(connection, { namespace, name: pod.metadata.name, container }, 20);
  const why = ended === undefined ? waitingFault(pod, container, now) : endOf(ended);
  if (why === undefined) return undefined;
  return new UserError([`${what}: ${why}`, ...lines.map((line) => `  ${line}`)].join("\n"), {
    at,
    fix: "Correct its image, command or environment in kws.yaml.",
  });
}

/** Waiting does not mend what is said here. */
function waitingFault(pod: KubeObject, container: string, now: number): string | undefined {
  const { reason, message, phase } = (pod["status"] ?? {}) as Record<string, string | undefined>;
  if (phase === "Failed") return [reason ?? "the pod failed", message].filter(Boolean).join(": ");
  const fault = diagnosePod(pod, now);
  const meant = fault?.container === undefined || fault.container === container;
  return fault === undefined || !meant || fault.reason === "Unhealthy"
    ? undefined
    : `${fault.reason}: ${fault.message}`;
}

function endOf({ exitCode, reason, message = "" }: Terminated): string {
  if (reason === "OOMKilled") return "it ran out of memory (OOMKilled)";
  return [`it ended with exit code ${exitCode}`, message.trim()].filter((part) => part !== "").join(": ");
}
