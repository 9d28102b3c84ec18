/** Waiting until a service is ready, or saying why it will not be, with its last words. */
import { UserError } from "@kws/base/errors";
import type { StepHandle } from "@kws/base/steps";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { conditionOf } from "@kws/kube/readiness";
import { daemonSets, deployments, events, jobs, pods, statefulSets } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { ProjectStack } from "../project/workspace.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, serviceLabel, stackLabel } from "../services/labels.ts";
import { lastLogLines } from "../services/logs.ts";
import { type Workload, type WorkloadKind, workloadsOf } from "../services/workloads.ts";
import { diagnose, type Diagnosis, hasSettled, stuckPods } from "./diagnose.ts";
import type { NamespaceView } from "./view.ts";

/** Where a stack is. */
export type StackPlace = Pick<ProjectStack, "name" | "namespace">;

export interface ReadyOptions {
  service: string;
  stack: StackPlace;
  connection: Connection;
  view: NamespaceView;
  step: StepHandle;
  signal: AbortSignal;
  timeoutMs: number;
  clock: () => number;
}

export async function untilReady(options: ReadyOptions): Promise<void> {
  const { service, view, stack, connection, clock } = options;
  const deadline = clock() + options.timeoutMs;
  let told = "";
  const removed = new Set<string>();
  const outcome = await view.until(async () => {
    const workloads = workloadsOf(view.objects(), service);
    const now = clock();
    if (workloads.every((workload) => workload.done && hasSettled(workload, now))) return "ready" as const;
    const text = progressOf(workloads);
    if (text !== told) options.step.detail(text);
    told = text;
    await removeStuck(options, workloads, removed);
    const fault = diagnose(workloads, now);
    if (fault !== undefined) return fault;
    return now > deadline ? ("late" as const) : undefined;
  }, options.signal);
  if (outcome === "ready") return;
  if (outcome !== "late") throw await failureOf(connection, stack, service, outcome);
  const workloads = workloadsOf(view.objects(), service);
  const unready = workloads
    .flatMap(({ pods: current }) => current)
    .find((pod) => conditionOf(pod, "Ready")?.status !== "True");
  const warnings =
    unready === undefined ? [] : await warningsOf(connection.client, stack.namespace, unready.metadata.name);
  const late = `${service} did not become ready in ${options.timeoutMs / 1000} s: ${progressOf(workloads)}`;
  throw new UserError(
    // What a probe was answered is often all that there is to know.
    [late, ...warnings.slice(-1).map((warning) => `${unready?.metadata.name}: ${warning}`)].join("\n"),
    {
      code: "timeout",
      fix: `See \`kws service status ${service} --stack ${stack.name}\`, or wait longer with --timeout.`,
    },
  );
}

/** Pods that keep the new template from being rolled out, once each. */
async function removeStuck(
  options: ReadyOptions,
  workloads: Workload[],
  removed: Set<string>,
): Promise<void> {
  for (const { pod, fault } of stuckPods(workloads, options.clock())) {
    const { name, uid } = pod.metadata;
    if (uid === undefined || removed.has(uid)) continue;
    removed.add(uid);
    options.step.note(`removed the pod ${name} of the old revision, which was in the way (${fault.reason})`);
    try {
      await options.connection.client.delete(pods, name, options.stack.namespace, { preconditions: { uid } });
    } catch (error) {
      if (!isApiError(error, "NotFound", "Conflict")) throw error;
    }
  }
}

function progressOf(workloads: Workload[]): string {
  return workloads
    .filter((workload) => !workload.done)
    .map(({ name, ready, wanted, pods: current, stale }) => {
      const waiting = [...current, ...stale]
        .map((pod) => waitingReason(pod))
        .find((reason) => reason !== undefined);
      return `${name} ${ready}/${wanted}${waiting === undefined ? "" : ` (${waiting})`}`;
    })
    .join(", ");
}

function waitingReason(pod: KubeObject): string | undefined {
  const statuses = (pod["status"]?.containerStatuses ?? []) as {
    state?: { waiting?: { reason?: string } };
  }[];
  return statuses.map((status) => status.state?.waiting?.reason).find((reason) => reason !== undefined);
}

/** An error that names the culprit and repeats its last log lines or the kubelet's last warning. */
export async function failureOf(
  connection: Connection,
  stack: StackPlace,
  service: string,
  fault: Diagnosis,
): Promise<UserError> {
  const warnings =
    fault.pod === undefined ? [] : await warningsOf(connection.client, stack.namespace, fault.pod);
  const lines =
    fault.pod === undefined || fault.container === undefined
      ? []
      : await lastLogLines(
          connection,
          {
            namespace: stack.namespace,
            name: fault.pod,
            container: fault.container,
            ...(fault.previous === undefined ? {} : { previous: fault.previous }),
          },
          10,
        );
  // A container in a loop has back-off warnings, which say nothing new; that a probe had it killed does.
  const killed = /exit code (137|143)\b/.test(fault.message);
  const warning =
    fault.reason !== "CrashLoopBackOff"
      ? warnings.at(-1)
      : killed
        ? warnings.findLast((text) => /probe failed/i.test(text))
        : undefined;
  const parts = [
    `${service} does not become ready: ${fault.reason}: ${fault.message}`,
    ...(warning === undefined || fault.message.includes(warning) ? [] : [warning]),
    ...(lines.length === 0
      ? []
      : [`last lines of ${fault.pod}/${fault.container}:`, ...lines.map((line) => `  ${line}`)]),
  ];
  return new UserError(parts.join("\n"), {
    fix: `Mend it and run \`kws stack start ${stack.name}\` again. More: \`kws service logs ${service} --stack ${stack.name}${fault.previous === true ? " --previous" : ""}\`.`,
  });
}

/** The kubelet's warnings about a pod, the newest last. */
async function warningsOf(client: KubeClient, namespace: string, pod: string): Promise<string[]> {
  try {
    const list = await client.list(events, namespace, { fieldSelector: `involvedObject.name=${pod}` });
    const time = (event: KubeObject) =>
      String(event["lastTimestamp"] ?? event["eventTime"] ?? event.metadata.creationTimestamp);
    return list.items
      .filter((event) => event["type"] === "Warning" && event["involvedObject"]?.name === pod)
      .toSorted((a, b) => time(a).localeCompare(time(b)))
      .map((event) => String(event["message"] ?? ""));
  } catch (error) {
    if (isApiError(error)) return [];
    throw error;
  }
}

const resources: Record<WorkloadKind, Resource> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
  DaemonSet: daemonSets,
  Job: jobs,
};

/** Puts kws's labels on a release's workloads, whatever its chart is. */
export async function labelWorkloads(
  client: KubeClient,
  view: NamespaceView,
  service: string,
  stack: StackPlace,
): Promise<void> {
  const labels = { [stackLabel]: stack.name, [serviceLabel]: service };
  const missing = workloadsOf(view.objects(), service).filter(({ object }) =>
    Object.entries(labels).some(([key, value]) => object.metadata.labels?.[key] !== value),
  );
  await Promise.all(
    missing.map(({ kind, name }) =>
      client.patch(
        resources[kind],
        name,
        stack.namespace,
        "merge",
        { metadata: { labels } },
        { fieldManager },
      ),
    ),
  );
}
