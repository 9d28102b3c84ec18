/** What the kubelet knows of the containers of one pod: their runs, newest last, and why one is not running. */
import type { ContainerStatus, Pod, PodContainer } from "./pod.ts";
import type { Container } from "./runtime.ts";

/** One run of a container. */
export interface ContainerRun {
  /** Without the `kws://` scheme. */
  id: string;
  attempt: number;
  state: "running" | "exited";
  startedAt?: string;
  finishedAt?: string;
  exitCode?: number;
  /** `Completed`, `Error`, `OOMKilled`, `ContainerStatusUnknown`, … once exited. */
  reason?: string;
  /** The termination message. */
  message?: string;
  image: string;
  imageID: string;
  /** Passed its startup probe, or has none. */
  started: boolean;
  ready: boolean;
  /** Known from the pod's status only: the runtime has no trace of it any more. */
  remembered: boolean;
}

/** One that runs and has passed no probe yet, but for what is said of it. */
export function newRun(
  known: Pick<ContainerRun, "id" | "attempt" | "image" | "imageID"> & Partial<ContainerRun>,
): ContainerRun {
  return { state: "running", started: false, ready: false, remembered: false, ...known };
}

/** One that a kubelet before this one has started; `status` is what the pod's says of its container. */
export function adoptedRun(container: Container, status: ContainerStatus | undefined): ContainerRun {
  const same = status?.containerID === `kws://${container.id}`;
  return newRun({
    id: container.id,
    attempt: container.attempt,
    startedAt: container.startedAt,
    image: container.annotations["kws.dev/image"] ?? "",
    imageID: container.annotations["kws.dev/image-id"] ?? "",
    started: same && status?.started === true,
    ready: same && status.ready,
  });
}

/** One that the runtime could not start. */
export function failedRun(
  known: Pick<ContainerRun, "id" | "attempt" | "image" | "imageID">,
  message: string,
  time: string,
): ContainerRun {
  const end = { startedAt: time, finishedAt: time, exitCode: 128, reason: "StartError", message };
  return newRun({ ...known, state: "exited", ...end });
}

/** As if killed, where the runtime does not know. */
export const exitCodeOf = ({ exitCode = 137 }: Container): number => exitCode;

/** The end of a run, as the runtime tells it. */
export function finishRun(run: ContainerRun, container: Container, now: string): void {
  const exitCode = exitCodeOf(container);
  Object.assign(run, {
    state: "exited",
    ready: false,
    started: false,
    exitCode,
    finishedAt: container.finishedAt ?? now,
    reason: container.oomKilled ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error",
  } satisfies Partial<ContainerRun>);
}

export interface ContainerRecord {
  /** At most the last two. */
  runs: ContainerRun[];
  /** Why the next run has not started: `ContainerCreating`, `ErrImagePull`, `CrashLoopBackOff`, …. */
  waiting?: { reason: string; message?: string };
}

export function latestRun(record: ContainerRecord | undefined): ContainerRun | undefined {
  return record?.runs.at(-1);
}

/** Containers of all three kinds. */
export function allContainers({ spec }: Pod): PodContainer[] {
  return [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
}

/** A run as the pod's status remembers it, for when the runtime has lost it (a reboot) or it has been cleaned up. */
export function rememberedRuns(status: ContainerStatus): ContainerRun[] {
  const base = {
    image: status.image,
    imageID: status.imageID,
    started: false,
    ready: false,
    remembered: true,
    state: "exited" as const,
  };
  const idOf = (id: string | undefined) => (id ?? "").replace(/^kws:\/\//, "");
  const { running, terminated } = status.state;
  const last = terminated ?? status.lastState?.terminated;
  if (running) {
    return [
      {
        ...base,
        id: idOf(status.containerID),
        attempt: status.restartCount,
        startedAt: running.startedAt,
        exitCode: 137,
        reason: "ContainerStatusUnknown",
        message: "The container could not be located when the pod was restarted",
      },
    ];
  }
  if (!last) return [];
  return [
    {
      ...base,
      id: idOf(last.containerID ?? status.containerID),
      attempt: status.restartCount,
      startedAt: last.startedAt ?? undefined,
      finishedAt: last.finishedAt ?? undefined,
      exitCode: last.exitCode,
      reason: last.reason,
      message: last.message,
    },
  ];
}
