/**
 * Looking into a service's container with tools that it does not have: an ephemeral container beside it, which sees its
 * processes (https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/). kubectl adds it, because it knows terminals.
 */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { pods } from "@kws/kube/resources";
import type { Connection } from "../providers/provider.ts";
import { kubectlTarget, runningPod } from "./exec.ts";
import type { Release } from "./releases.ts";

export interface DebugRequest {
  release: Release;
  /** Of the ephemeral container; unique in its pod. */
  name: string;
  image: string;
  command: string[];
  /** The one that is looked into; the pod's first unless given. */
  container?: string | undefined;
  tty: boolean;
}

export interface DebugSession {
  pod: string;
  /** kubectl's, to add the container; with a terminal they run it to its end. */
  start: string[];
  /** kubectl's, for all that the container says; without a terminal. */
  follow: string[];
}

export async function debugSession(connection: Connection, request: DebugRequest): Promise<DebugSession> {
  const { release, name, image, command, tty } = request;
  const pod = await runningPod(connection, release);
  const containers = (pod["spec"]?.containers ?? []) as { name: string }[];
  const target = request.container ?? containers[0]?.name ?? "";
  if (!containers.some((one) => one.name === target)) {
    throw new UserError(`${pod.metadata.name} has no container "${target}"`, {
      code: "not-found",
      fix: `Use one of: ${containers.map((one) => one.name).join(", ")}.`,
    });
  }
  const where = kubectlTarget(connection, release);
  const what = ["--profile=baseline", `--container=${name}`, `--image=${image}`, `--target=${target}`];
  const terminal = tty ? ["--stdin", "--tty"] : [];
  return {
    pod: pod.metadata.name,
    start: [...where, "debug", "--quiet", ...terminal, ...what, pod.metadata.name, "--", ...command],
    follow: [...where, "logs", "--follow", `--container=${name}`, pod.metadata.name],
  };
}

interface ContainerState {
  waiting?: { reason?: string; message?: string };
  running?: object;
  terminated?: { exitCode?: number };
}

export interface DebugPlace {
  namespace: string;
  pod: string;
  /** Of the ephemeral container. */
  name: string;
  signal: AbortSignal;
}

/** Waits until the container runs or has run. Throws where its image cannot be had. */
export async function untilStarted(connection: Connection, place: DebugPlace): Promise<void> {
  await untilState(connection, place, ({ waiting, running, terminated }) => {
    if (/^(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName)$/.test(waiting?.reason ?? "")) {
      throw new UserError(`the image cannot be had: ${waiting?.message ?? waiting?.reason}`, {
        fix: "Name another with --image.",
      });
    }
    return running ?? terminated;
  });
}

/** The exit code of the container, which kubectl does not say. */
export async function exitCodeOf(connection: Connection, place: DebugPlace): Promise<number> {
  return untilState(connection, place, ({ terminated }) => terminated && (terminated.exitCode ?? 0));
}

async function untilState<T>(
  { client }: Connection,
  { namespace, pod, name, signal }: DebugPlace,
  check: (state: ContainerState) => T | undefined,
): Promise<T> {
  for (;;) {
    const found = await client.get(pods, pod, namespace, { signal });
    const statuses = (found["status"]?.ephemeralContainerStatuses ?? []) as {
      name: string;
      state?: ContainerState;
    }[];
    const answer = check(statuses.find((one) => one.name === name)?.state ?? {});
    if (answer !== undefined) return answer;
    await sleep(100, signal);
  }
}
