/**
 * What the kubelet needs of a container runtime, in the words of the Kubernetes Container Runtime Interface. A runtime
 * knows containers and nothing of pods' specs, probes or the API; it outlives the process that talks to it, so that a
 * restarted kubelet finds its containers again with `listPodSandboxes` and `listContainers`.
 */
import type { Duplex, Readable, Writable } from "node:stream";

export interface Runtime {
  /** Makes the pod's network namespace and address. Asked again with the same id it answers the existing sandbox. */
  runPodSandbox(spec: PodSandboxSpec): Promise<PodSandbox>;
  /** Kills what still runs in it, then frees its address, mounts and files. Unknown ids are fine. */
  removePodSandbox(id: string): Promise<void>;
  listPodSandboxes(): Promise<PodSandbox[]>;

  /** Creates and starts a container; resolves once its process runs, and rejects with `ContainerStartError`. */
  startContainer(spec: ContainerSpec): Promise<Container>;
  /** SIGTERM (or the spec's stop signal), SIGKILL after the grace period; resolves when it has exited. */
  stopContainer(id: string, gracePeriodSeconds: number): Promise<void>;
  /** Kills it if it runs and removes its writable layer. Its log stays: the kubelet owns logs. */
  removeContainer(id: string): Promise<void>;
  listContainers(): Promise<Container[]>;
  /** Calls back whenever a container has exited, with its final state. Returns a function that ends the subscription. */
  onExit(listener: (container: Container) => void): () => void;

  /** Of every container that runs, since it began. Where a runtime cannot tell, nothing is known to be used. */
  usage?(): Promise<ContainerUsage[]>;

  exec(containerId: string, spec: ExecSpec): Promise<ExecSession>;
  /**
   * The streams of a running container's own process; closing them leaves it alone. Where a runtime has none, the kubelet
   * follows the log.
   */
  attach?(containerId: string): Promise<ExecSession>;
  /**
   * A TCP connection from inside the cluster's network, such as to a pod's or a Service's address. With a sandbox's id the
   * host is that pod, whatever its name, and a program that listens on the pod's loopback address alone is reached too.
   */
  dial(host: string, port: number, sandboxId?: string): Promise<Duplex>;
}

export interface PodSandboxSpec {
  /** The pod's uid. */
  id: string;
  name: string;
  namespace: string;
  hostname: string;
  /** `hostname.subdomain.namespace.svc.cluster.local`, to stand before the hostname in /etc/hosts. */
  fqdn?: string;
  /** Lines of the pod's /etc/resolv.conf. */
  dns: { nameservers: string[]; searches: string[]; options: string[] };
  /** Further lines of the pod's /etc/hosts. */
  hostAliases: { ip: string; hostnames: string[] }[];
  /** The host's network namespace: the pod then has the node's address. */
  hostNetwork: boolean;
  /** One PID namespace for all containers of the pod. */
  shareProcessNamespace: boolean;
  /** How many processes and threads the pod may have at once. */
  processLimit: number;
  /** Kernel parameters of the pod's own namespaces. */
  sysctls: Record<string, string>;
}

export interface PodSandbox {
  id: string;
  name: string;
  namespace: string;
  address: string;
}

export interface ContainerSpec {
  /** Chosen by the caller, unique for ever. */
  id: string;
  sandboxId: string;
  /** A running container of the sandbox whose PID namespace this one joins. */
  targetId?: string;
  name: string;
  /** How often the container has been started before in this pod. */
  attempt: number;
  /** Digest of the image in the store, for a runtime that unpacks images itself. */
  image: string;
  /** The image's layers unpacked on disk, the lowest first, for one that does not. */
  layers: string[];
  argv: string[];
  /** Complete: nothing is added but `HOSTNAME` and a default `PATH`. */
  env: Record<string, string>;
  cwd: string;
  user: { uid: number; gid: number; additionalGids: number[] };
  mounts: Mount[];
  readOnlyRootFilesystem: boolean;
  privileged: boolean;
  allowPrivilegeEscalation: boolean;
  /** Linux capability names without `CAP_`; `ALL` is allowed. */
  capabilities: { add: string[]; drop: string[] };
  /** Bytes and CPU cores; honoured where the machine has cgroups that may be written. */
  limits: { memory?: number; cpu?: number };
  stdin: boolean;
  tty: boolean;
  stopSignal?: string;
  /** A file for output in the CRI log format, `<RFC 3339 nano> stdout|stderr F|P <line>`; made with its folder. */
  logPath: string;
  /** A file for the container's termination message; mounted at `terminationMessageTarget`. */
  terminationMessagePath: string;
  terminationMessageTarget: string;
  /** Opaque to the runtime, given back by `listContainers`. */
  annotations: Record<string, string>;
}

export type Mount =
  | {
      type: "bind";
      source: string;
      target: string;
      readOnly: boolean;
      /** A folder above the source that a container may write to: through no link below it is the source reached. */
      within?: string;
    }
  | { type: "tmpfs"; target: string; sizeBytes?: number };

export interface Container {
  id: string;
  sandboxId: string;
  name: string;
  attempt: number;
  state: "running" | "exited";
  /** RFC 3339. */
  startedAt: string;
  finishedAt?: string;
  /** 128 + signal number where a signal ended it. */
  exitCode?: number;
  oomKilled?: boolean;
  annotations: Record<string, string>;
}

export interface ContainerUsage {
  sandboxId: string;
  name: string;
  /** Processor time. */
  cpuSeconds: number;
  memoryBytes: number;
}

/** The container could not be started: a missing executable, a mount that fails. The reason is the kubelet's to show. */
export class ContainerStartError extends Error {
  override name = "ContainerStartError";
  /** As a container status shows it: `RunContainerError`, `CreateContainerError`, `StartError`. */
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export interface ExecSpec {
  argv: string[];
  tty: boolean;
  stdin: boolean;
  /** Added to the container's own environment. */
  env?: Record<string, string>;
}

/** A running command or an attached container. With a TTY everything comes on `stdout`. */
export interface ExecSession {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  resize(columns: number, rows: number): void;
  /** Resolves with the exit code once the process has ended and its output is drained. */
  exit: Promise<number>;
  /** Ends the command if it still runs. */
  close(): void;
}
