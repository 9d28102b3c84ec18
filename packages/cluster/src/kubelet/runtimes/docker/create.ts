/** From what the kubelet asks of a container to what the Docker Engine is asked for. */
import { realpathSync } from "node:fs";
import { sep } from "node:path";
import type Docker from "dockerode";
import { ContainerStartError, type ContainerSpec, type Mount } from "../../runtime.ts";
import { containerMounts } from "../pod-files.ts";
import { grantedCapabilities } from "../sandbox/capabilities.ts";

export interface Surroundings {
  /** The engine's id of the image. */
  image: string;
  labels: Record<string, string>;
  /** The container that holds the pod's namespaces. */
  pause: string;
  /** The one whose PID namespace is joined. */
  processesOf: string | undefined;
  /** Of the pod: what all of its containers are given. */
  pod: { folder: string; hostname: string; processLimit: number };
  /** How many processors the engine has; more cannot be asked for. */
  cpus: number;
}

/** The engine refuses less. */
const leastMemory = 6 * 2 ** 20;

export function containerBody(spec: ContainerSpec, around: Surroundings): Docker.ContainerCreateOptions {
  const { pause, processesOf, pod } = around;
  const [program = "", ...words] = spec.argv;
  const { uid, gid, additionalGids } = spec.user;
  const { memory, cpu } = spec.limits;
  const bytes = memory === undefined ? undefined : Math.max(Math.ceil(memory), leastMemory);
  return {
    Image: around.image,
    Labels: around.labels,
    Entrypoint: [program],
    Cmd: words,
    Env: Object.entries({ HOSTNAME: pod.hostname, ...spec.env }).map(([name, value]) => `${name}=${value}`),
    WorkingDir: spec.cwd,
    User: `${uid}:${gid}`,
    OpenStdin: spec.stdin,
    // The end of an attached client's input is the end of the container's.
    StdinOnce: spec.stdin,
    Tty: spec.tty,
    ...(spec.stopSignal === undefined ? {} : { StopSignal: spec.stopSignal }),
    HostConfig: {
      NetworkMode: `container:${pause}`,
      IpcMode: `container:${pause}`,
      ...(processesOf === undefined ? {} : { PidMode: `container:${processesOf}` }),
      GroupAdd: additionalGids.map(String),
      Mounts: containerMounts(spec, pod.folder).map(toMount),
      ReadonlyRootfs: spec.readOnlyRootFilesystem,
      Privileged: spec.privileged,
      ...(spec.privileged ? {} : capabilitiesOf(spec)),
      SecurityOpt: spec.allowPrivilegeEscalation || spec.privileged ? [] : ["no-new-privileges"],
      PidsLimit: pod.processLimit,
      ...(bytes === undefined ? {} : { Memory: bytes, MemorySwap: bytes }),
      ...(cpu === undefined ? {} : { NanoCpus: Math.round(Math.min(cpu, around.cpus) * 1e9) }),
      // Read from to fill the log that the kubelet knows; whatever the engine's own default is.
      LogConfig: { Type: "json-file", Config: { "max-size": "20m", "max-file": "2" } },
    },
  };
}

/** All of them are named as such: the engine knows which its kernel has. */
function capabilitiesOf({ capabilities }: ContainerSpec): { CapDrop: string[]; CapAdd: string[] } {
  if (capabilities.add.includes("ALL")) return { CapDrop: capabilities.drop, CapAdd: ["ALL"] };
  return { CapDrop: ["ALL"], CapAdd: grantedCapabilities(capabilities) };
}

function toMount(mount: Mount): Docker.MountConfig[number] {
  if (mount.type === "tmpfs") {
    const { target, sizeBytes = 0 } = mount; // No limit.
    // Any user of the pod may write to it.
    return {
      Type: "tmpfs",
      Source: "",
      Target: target,
      TmpfsOptions: { Mode: 0o1777, SizeBytes: sizeBytes },
    };
  }
  const { source, target, readOnly, within } = mount;
  if (within !== undefined) {
    const real = realpathSync(source);
    if (real !== within && !real.startsWith(within + sep))
      throw new ContainerStartError("CreateContainerError", `${source} leads out of its volume`);
  }
  return {
    Type: "bind",
    Source: source,
    Target: target,
    ReadOnly: readOnly,
    BindOptions: { Propagation: "rprivate" },
  };
}

/** What the engine said when it did not start a container, as the kubelet shows it. */
export function startError(message: string): ContainerStartError {
  const exec = /\bexec: ("(?:[^"\\]|\\.)*": .*?)(?:: unknown)?\s*$/s.exec(message)?.[1];
  if (exec !== undefined) {
    const said = `unable to start container process: error during container init: exec: ${exec}`;
    return new ContainerStartError("RunContainerError", said);
  }
  return new ContainerStartError("CreateContainerError", message);
}
