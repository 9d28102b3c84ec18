/** From a container of a pod's spec to what the runtime is asked to run. */
import { randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseQuantity } from "@kws/kube/quantity";
import type { Image, ResolveUser } from "../images/image.ts";
import {
  buildCommand,
  buildEnvironment,
  ContainerConfigError,
  type EnvironmentSource,
} from "./environment.ts";
import { expandStrictly } from "./expand.ts";
import type { Pod, PodContainer, VolumeMount } from "./pod.ts";
import type { ContainerSpec, Mount } from "./runtime.ts";
import { resolveSubPath } from "./subpath.ts";
import { containerUser } from "./user.ts";
import type { VolumeSource } from "./volumes.ts";

export interface CreateInput {
  pod: Pod;
  container: PodContainer;
  image: Image;
  attempt: number;
  /** `<dataDir>/pods/<uid>`. */
  podDir: string;
  sandboxId: string;
  /** Of the container whose processes this one is to see. */
  targetId: string | undefined;
  volumes: ReadonlyMap<string, VolumeSource>;
  environment: EnvironmentSource;
  resolveUser: ResolveUser;
}

/** What the kubelet keeps with a container so that it finds it again after a restart. */
export interface ContainerAnnotations extends Record<string, string> {
  "kws.dev/pod-uid": string;
  "kws.dev/image": string;
  "kws.dev/image-id": string;
}

export function logPathOf(podDir: string, container: string, attempt: number): string {
  return join(podDir, "logs", container, `${attempt}.log`);
}

export function terminationPathOf(podDir: string, container: string, attempt: number): string {
  return join(podDir, "containers", container, `${attempt}.message`);
}

export async function containerSpec(input: CreateInput): Promise<ContainerSpec> {
  const { pod, container, image, attempt, podDir, sandboxId } = input;
  const [env, user] = await Promise.all([
    buildEnvironment(container, image.config, input.environment),
    containerUser(pod, container, image, input.resolveUser),
  ]);
  const argv = buildCommand(container, image.config, env);
  const mounts = (container.volumeMounts ?? []).map((mount) => toMount(mount, env, input));
  const logPath = logPathOf(podDir, container.name, attempt);
  const terminationMessagePath = terminationPathOf(podDir, container.name, attempt);
  await Promise.all([
    mkdir(dirname(logPath), { recursive: true }),
    mkdir(dirname(terminationMessagePath), { recursive: true }),
  ]);
  await writeFile(terminationMessagePath, "");
  // Written by whichever user the container has.
  await chmod(terminationMessagePath, 0o666);
  const security = container.securityContext ?? {};
  const limits = container.resources?.limits ?? {};
  const { home, ...ids } = user;
  const annotations: ContainerAnnotations = {
    "kws.dev/pod-uid": pod.metadata.uid ?? "",
    "kws.dev/image": container.image,
    "kws.dev/image-id": imageId(container.image, image.digest),
  };
  return {
    id: randomBytes(32).toString("hex"),
    sandboxId,
    ...(input.targetId === undefined ? {} : { targetId: input.targetId }),
    name: container.name,
    attempt,
    image: image.digest,
    layers: image.layers,
    argv,
    env: { HOME: home, ...env },
    cwd: container.workingDir || image.config.WorkingDir || "/",
    user: ids,
    // Outer mounts first, so that an inner one lands on top of them.
    mounts: mounts.sort((a, b) => a.target.length - b.target.length),
    readOnlyRootFilesystem: security.readOnlyRootFilesystem === true,
    privileged: security.privileged === true,
    allowPrivilegeEscalation: security.allowPrivilegeEscalation !== false,
    capabilities: { add: security.capabilities?.add ?? [], drop: security.capabilities?.drop ?? [] },
    limits: {
      ...(limits.memory === undefined ? {} : { memory: parseQuantity(limits.memory) }),
      ...(limits.cpu === undefined ? {} : { cpu: parseQuantity(limits.cpu) }),
    },
    stdin: container.stdin === true,
    tty: container.tty === true,
    stopSignal: container.lifecycle?.stopSignal ?? image.config.StopSignal,
    logPath,
    terminationMessagePath,
    terminationMessageTarget: container.terminationMessagePath ?? "/dev/termination-log",
    annotations,
  };
}

function toMount(
  { name, mountPath, readOnly = false, subPath, subPathExpr }: VolumeMount,
  env: Record<string, string>,
  { volumes }: CreateInput,
): Mount {
  const volume = volumes.get(name);
  if (volume === undefined) throw new ContainerConfigError(`volume "${name}" is not defined in the pod`);
  if (volume.tmpfs !== undefined) {
    return { type: "tmpfs", target: mountPath, ...volume.tmpfs };
  }
  try {
    const inner = subPathExpr === undefined ? subPath : expandStrictly(subPathExpr, env);
    const mount = { type: "bind", target: mountPath, readOnly: readOnly || volume.readOnly } as const;
    if (!inner) return { ...mount, source: volume.path };
    return { ...mount, source: resolveSubPath(volume.path, inner), within: realpathSync(volume.path) };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new ContainerConfigError(
      `failed to prepare subPath for volumeMount "${name}" of container: ${error.message}`,
      { cause: error },
    );
  }
}

/** `name@sha256:…`, as container statuses show the image that runs. */
export function imageId(reference: string, digest: string): string {
  const name = reference.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
  return `${name}@${digest}`;
}
