/** The row of a pod in `kubectl get pods`, with the STATUS that upstream's printer computes from its containers. */
import type { KubeObject } from "@kws/kube/object";
import { list } from "./loose.ts";
import type { Column, Fields } from "./resource.ts";
import { age, ageColumn, column, humanDuration, nameColumn, orNone, wide } from "./table.ts";

export const podColumns: Column[] = [
  nameColumn,
  column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
  column("Status", "The aggregate status of the containers in this pod."),
  column(
    "Restarts",
    "The number of times the containers in this pod have been restarted and when the last did.",
  ),
  ageColumn,
  wide("IP", "Address of the pod within the cluster."),
  wide("Node", "The node that the pod runs on."),
  wide("Nominated Node", "The node that preemption made room on for this pod."),
  wide("Readiness Gates", "How many of the pod's own readiness conditions hold."),
];

interface Tally {
  reason: string;
  ready: number;
  restarts: number;
  lastRestart: number;
}

export function podRow(pod: KubeObject, now: number): (string | number)[] {
  const spec: Fields = pod["spec"] ?? {};
  const status: Fields = pod["status"] ?? {};
  const sidecars = list(spec["initContainers"]).filter(
    (container) => container["restartPolicy"] === "Always",
  );
  const total = list(spec["containers"]).length + sidecars.length;
  const { reason, ready, restarts, lastRestart } = tally(pod);
  const restarted =
    restarts > 0 && lastRestart > 0
      ? `${restarts} (${humanDuration(now - lastRestart)} ago)`
      : String(restarts);
  return [
    pod.metadata.name,
    `${ready}/${total}`,
    reason,
    restarted,
    age(pod, now),
    orNone(list(status["podIPs"])[0]?.["ip"] ?? status["podIP"]),
    orNone(spec["nodeName"]),
    orNone(status["nominatedNodeName"]),
    readinessGates(spec, status),
  ];
}

function tally(pod: KubeObject): Tally {
  const spec: Fields = pod["spec"] ?? {};
  const status: Fields = pod["status"] ?? {};
  const result: Tally = {
    reason: status["reason"] || status["phase"] || "",
    ready: 0,
    restarts: 0,
    lastRestart: 0,
  };
  if (
    list(status["conditions"]).some(
      ({ type, reason }) => type === "PodScheduled" && reason === "SchedulingGated",
    )
  ) {
    result.reason = "SchedulingGated";
  }
  const sidecar: Tally = { ...result };
  const waiting = tallyInit(spec, status, result, sidecar);
  const initialized = list(status["conditions"]).some(
    (condition) => condition["type"] === "Initialized" && condition["status"] === "True",
  );
  if (!waiting || initialized) tallyContainers(status, result, sidecar);
  if (pod.metadata.deletionTimestamp !== undefined && status["reason"] === "NodeLost")
    result.reason = "Unknown";
  else if (
    pod.metadata.deletionTimestamp &&
    status["phase"] !== "Succeeded" &&
    status["phase"] !== "Failed"
  ) {
    result.reason = "Terminating";
  }
  return result;
}

/** Counts the init containers; true while one of them holds the pod back. */
function tallyInit(spec: Fields, status: Fields, result: Tally, sidecar: Tally): boolean {
  const byName = new Map(list(spec["initContainers"]).map((container) => [container["name"], container]));
  const statuses = list(status["initContainerStatuses"]);
  for (const [index, container] of statuses.entries()) {
    const restartable = byName.get(container["name"])?.["restartPolicy"] === "Always";
    countRestarts(container, result);
    if (restartable) countRestarts(container, sidecar);
    const state: Fields = container["state"] ?? {};
    const terminated: Fields | undefined = state["terminated"] ?? undefined;
    if (terminated?.["exitCode"] === 0) continue;
    if (restartable && container["started"] === true) {
      if (container["ready"] === true) result.ready++;
      continue;
    }
    if (terminated) result.reason = `Init:${terminated["reason"] || exitOf(terminated)}`;
    else if (state["waiting"]?.reason && state["waiting"].reason !== "PodInitializing") {
      result.reason = `Init:${state["waiting"].reason}`;
    } else result.reason = `Init:${index}/${byName.size}`;
    return true;
  }
  return false;
}

function tallyContainers(status: Fields, result: Tally, sidecar: Tally): void {
  result.restarts = sidecar.restarts;
  result.lastRestart = sidecar.lastRestart;
  let running = false;
  for (const container of list(status["containerStatuses"]).reverse()) {
    countRestarts(container, result);
    const state: Fields = container["state"] ?? {};
    const terminated: Fields | undefined = state["terminated"] ?? undefined;
    if (state["waiting"]?.reason) result.reason = state["waiting"].reason;
    else if (terminated) result.reason = terminated["reason"] || exitOf(terminated);
    else if (container["ready"] === true && state["running"]) {
      running = true;
      result.ready++;
    }
  }
  if (result.reason === "Completed" && running) {
    const ready = list(status["conditions"]).some(
      ({ type, status }) => type === "Ready" && status === "True",
    );
    result.reason = ready ? "Running" : "NotReady";
  }
}

function exitOf(terminated: Fields): string {
  return terminated["signal"] ? `Signal:${terminated["signal"]}` : `ExitCode:${terminated["exitCode"]}`;
}

function countRestarts(container: Fields, into: Tally): void {
  into.restarts += Number(container["restartCount"] ?? 0);
  const finished = container["lastState"]?.terminated?.finishedAt;
  if (finished) into.lastRestart = Math.max(into.lastRestart, Date.parse(finished));
}

function readinessGates(spec: Fields, status: Fields): string {
  const gates = list(spec["readinessGates"]);
  if (gates.length === 0) return "<none>";
  const held = gates.filter((gate) =>
    list(status["conditions"]).some(
      (condition) => condition["type"] === gate["conditionType"] && condition["status"] === "True",
    ),
  );
  return `${held.length}/${gates.length}`;
}
