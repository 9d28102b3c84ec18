/**
 * The status of a pod as a pure function of its spec and its containers' runs, following
 * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and the kubelet's own wording of reasons and messages.
 */
import {
  isFinished,
  isSidecar,
  type Condition,
  type ContainerState,
  type ContainerStatus,
  type Pod,
  type PodContainer,
  type PodStatus,
} from "./pod.ts";
import { latestRun, type ContainerRecord, type ContainerRun } from "./record.ts";

export interface StatusInput {
  pod: Pod;
  records: ReadonlyMap<string, ContainerRecord>;
  /** The pod's address, once its sandbox stands. */
  address: string | undefined;
  nodeAddress: string;
  /** The status last written, which the pod may not show yet. */
  previous?: PodStatus;
  /** RFC 3339. */
  now: string;
  /** Decided by the kubelet rather than by the containers, such as `DeadlineExceeded`. */
  failed?: { reason: string; message: string; /** The node made it end. */ disrupted?: boolean };
  /** Nothing of the pod will run again, whatever its restart policy says. */
  ended?: boolean;
}

export function computeStatus(input: StatusInput): PodStatus {
  const { pod, records, address, nodeAddress, now, failed, previous } = input;
  const { spec } = pod;
  const old = pod.status ?? {};
  const initialized = isInitialized(pod, records);
  const idle = initialized ? "ContainerCreating" : "PodInitializing";
  const hasInit = (spec.initContainers ?? []).length > 0;
  const view = (fallback: string, init: boolean) => (container: PodContainer) =>
    containerStatus(container, records.get(container.name), fallback, init);
  const containerStatuses = spec.containers.map(view(hasInit ? idle : "ContainerCreating", false));
  const initContainerStatuses = (spec.initContainers ?? []).map(view("PodInitializing", true));
  const ephemeralContainerStatuses = (spec.ephemeralContainers ?? []).map(view("ContainerCreating", false));
  const kept = isFinished(pod);
  const phase = kept ? old.phase : failed ? "Failed" : computePhase(pod, records, input.ended);
  const { reason, message } = kept ? old : (failed ?? {});
  const conditions = computeConditions(
    pod,
    phase,
    initialized,
    containerStatuses,
    initContainerStatuses,
    address,
  );
  if (failed?.disrupted === true) {
    const disruption = { reason: "TerminationByKubelet", message: failed.message };
    conditions.push({ type: "DisruptionTarget", status: "True", ...disruption });
  }
  const podIP = address ?? old.podIP;
  return {
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    phase,
    ...(reason === undefined ? {} : { reason, message }),
    conditions: keepTransitions(conditions, previous?.conditions ?? [], old.conditions ?? [], now),
    hostIP: nodeAddress,
    hostIPs: [{ ip: nodeAddress }],
    ...(podIP === undefined ? {} : { podIP, podIPs: [{ ip: podIP }] }),
    startTime: old.startTime ?? previous?.startTime ?? now,
    ...(initContainerStatuses.length > 0 ? { initContainerStatuses } : {}),
    containerStatuses,
    ...(ephemeralContainerStatuses.length > 0 ? { ephemeralContainerStatuses } : {}),
    qosClass: old.qosClass ?? qosClass(pod),
  };
}

function containerStatus(
  container: PodContainer,
  record: ContainerRecord | undefined,
  fallback: string,
  init: boolean,
): ContainerStatus {
  const runs = record?.runs ?? [];
  const run = runs.at(-1);
  // A container that waits for its next run shows the last one as its lastState.
  const waiting = record?.waiting ?? (run === undefined ? { reason: fallback } : undefined);
  const waits = waiting !== undefined && run?.state !== "running";
  const previous = waits ? run : runs.at(-2);
  const { resources } = container;
  const shown = waits && run === undefined ? undefined : run;
  return {
    name: container.name,
    state: waits ? { waiting } : runState(run),
    lastState: previous ? runState(previous) : {},
    ready: run?.state === "running" ? run.ready : init && !waits && hasCompleted(container, run),
    started: run?.state === "running" && run.started,
    restartCount: run?.attempt ?? 0,
    image: shown?.image ?? container.image,
    imageID: shown?.imageID ?? "",
    ...(shown && shown.id !== "" ? { containerID: `kws://${shown.id}` } : {}),
    ...(resources && Object.keys(resources).length > 0 ? { resources } : {}),
    ...(resources?.requests ? { allocatedResources: resources.requests } : {}),
  };
}

/** An init container that ended well stays ready; regular containers that ended are not. */
function hasCompleted(container: PodContainer, run: ContainerRun | undefined): boolean {
  return run?.exitCode === 0 && !isSidecar(container);
}

function runState(run: ContainerRun | undefined): ContainerState {
  if (run === undefined) return {};
  if (run.state === "running") return { running: { startedAt: run.startedAt ?? "" } };
  return {
    terminated: {
      exitCode: run.exitCode ?? 137,
      reason: run.reason ?? (run.exitCode === 0 ? "Completed" : "Error"),
      ...(run.message ? { message: run.message } : {}),
      startedAt: run.startedAt ?? null,
      finishedAt: run.finishedAt ?? null,
      ...(run.id === "" ? {} : { containerID: `kws://${run.id}` }),
    },
  };
}

/** True once every init container is done (sidecars: has started). */
export function isInitialized(pod: Pod, records: ReadonlyMap<string, ContainerRecord>): boolean {
  // Init containers may be cleaned up after the others have begun; those are then proof enough.
  if (pod.spec.containers.some(({ name }) => latestRun(records.get(name)) !== undefined)) return true;
  return (pod.spec.initContainers ?? []).every((container) => isInitDone(container, records));
}

export function isInitDone(container: PodContainer, records: ReadonlyMap<string, ContainerRecord>): boolean {
  const run = latestRun(records.get(container.name));
  if (run === undefined) return false;
  if (isSidecar(container)) return run.started;
  return run.state === "exited" && run.exitCode === 0;
}

export function computePhase(
  pod: Pod,
  records: ReadonlyMap<string, ContainerRecord>,
  ended = false,
): NonNullable<PodStatus["phase"]> {
  const { spec } = pod;
  if (ended) {
    const well = spec.containers.every(({ name }) => latestRun(records.get(name))?.exitCode === 0);
    return well ? "Succeeded" : "Failed";
  }
  const policy = spec.restartPolicy ?? "Always";
  const runOf = ({ name }: PodContainer) => latestRun(records.get(name));
  if (!isInitialized(pod, records)) {
    const failed = (spec.initContainers ?? []).some((container) => {
      const run = runOf(container);
      return !isSidecar(container) && run?.state === "exited" && run.exitCode !== 0;
    });
    return failed && policy === "Never" ? "Failed" : "Pending";
  }
  const runs = spec.containers.map(runOf);
  if (runs.includes(undefined)) return "Pending";
  if (runs.some((run) => run?.state === "running") || policy === "Always") return "Running";
  const succeeded = runs.every((run) => run?.exitCode === 0);
  if (!succeeded && policy === "OnFailure") return "Running";
  const sidecarsRun = (spec.initContainers ?? []).some(
    (container) => isSidecar(container) && runOf(container)?.state === "running",
  );
  if (sidecarsRun) return "Running";
  return succeeded ? "Succeeded" : "Failed";
}

function computeConditions(
  pod: Pod,
  phase: PodStatus["phase"],
  initialized: boolean,
  containers: ContainerStatus[],
  inits: ContainerStatus[],
  address: string | undefined,
): Condition[] {
  const { spec } = pod;
  const sidecars = new Set((spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name));
  const finished = phase === "Succeeded" || phase === "Failed";
  const unready = [...inits.filter(({ name }) => sidecars.has(name)), ...containers]
    .filter(({ ready }) => !ready)
    .map(({ name }) => name);
  const incomplete = inits
    .filter(({ name, ready, started }) => (sidecars.has(name) ? !started : !ready))
    .map(({ name }) => name);

  const ended = phase === "Succeeded" ? { reason: "PodCompleted" } : { reason: "PodFailed" };
  const containersReady: Omit<Condition, "type"> = finished
    ? { status: "False", ...ended }
    : unready.length === 0
      ? { status: "True" }
      : {
          status: "False",
          reason: "ContainersNotReady",
          message: `containers with unready status: [${unready.join(" ")}]`,
        };
  const result: Condition[] = [
    { type: "PodReadyToStartContainers", status: address !== undefined && !finished ? "True" : "False" },
    initialized
      ? { type: "Initialized", status: "True", ...(phase === "Succeeded" ? { reason: "PodCompleted" } : {}) }
      : {
          type: "Initialized",
          status: "False",
          reason: "ContainersNotInitialized",
          message: `containers with incomplete status: [${incomplete.join(" ")}]`,
        },
    { type: "Ready", ...readiness(pod, containersReady) },
    { type: "ContainersReady", ...containersReady },
  ];
  const { generation } = pod.metadata;
  if (generation === undefined) return result;
  for (const condition of result) condition.observedGeneration = generation;
  return result;
}

/** The containers' readiness, and the pod's readiness gates (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate). */
function readiness(pod: Pod, containersReady: Omit<Condition, "type">): Omit<Condition, "type"> {
  if (containersReady.status !== "True") return containersReady;
  const messages: string[] = [];
  for (const { conditionType } of pod.spec.readinessGates ?? []) {
    const gate = pod.status?.conditions?.find(({ type }) => type === conditionType);
    if (gate === undefined) {
      messages.push(`corresponding condition of pod readiness gate "${conditionType}" does not exist.`);
    } else if (gate.status !== "True") {
      messages.push(`the status of pod readiness gate "${conditionType}" is not "True", but ${gate.status}`);
    }
  }
  if (messages.length === 0) return containersReady;
  return { status: "False", reason: "ReadinessGatesNotReady", message: messages.join(", ") };
}

/** Conditions that others own stay; a transition time changes only with the status. */
function keepTransitions(
  conditions: Condition[],
  previous: Condition[],
  old: Condition[],
  now: string,
): Condition[] {
  const own = new Set([...conditions.map(({ type }) => type), "PodScheduled"]);
  const isScheduled = ({ type }: Condition) => type === "PodScheduled";
  const scheduled: Condition = old.find(isScheduled) ??
    previous.find(isScheduled) ?? { type: "PodScheduled", status: "True", lastTransitionTime: now };
  const timed = conditions.map((condition) => {
    const same = ({ type }: Condition) => type === condition.type;
    const before = previous.find(same) ?? old.find(same);
    const lastTransitionTime = before?.status === condition.status ? (before.lastTransitionTime ?? now) : now;
    return { ...condition, lastProbeTime: null, lastTransitionTime };
  });
  return [...timed, scheduled, ...old.filter(({ type }) => !own.has(type))];
}

/** https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ */
export function qosClass({ spec }: Pod): "Guaranteed" | "Burstable" | "BestEffort" {
  const all = [...spec.containers, ...(spec.initContainers ?? [])];
  const kinds = ["cpu", "memory"];
  const given = (values: Record<string, string> | undefined) =>
    kinds.some((kind) => values?.[kind] !== undefined && values[kind] !== "0");
  if (!all.some(({ resources }) => given(resources?.limits) || given(resources?.requests)))
    return "BestEffort";
  const guaranteed = all.every(({ resources }) =>
    kinds.every((kind) => {
      const limit = resources?.limits?.[kind];
      return limit !== undefined && (resources?.requests?.[kind] ?? limit) === limit;
    }),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}
