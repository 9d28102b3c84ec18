/** The pod template of a dev container, made from the service's own: all that is not named here stays as it is. */
import { devKey } from "../services/held.ts";
import { supervised, supervisorFolder } from "./supervisor.ts";

export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
  workingDir?: string;
  env?: { name: string; value?: string }[];
  volumeMounts?: { name: string; mountPath: string; [field: string]: unknown }[];
  readinessProbe?: Probe;
  livenessProbe?: Probe;
  startupProbe?: Probe;
  [field: string]: unknown;
}

interface Probe {
  exec?: object;
  [field: string]: unknown;
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: {
    containers: Container[];
    initContainers?: Container[];
    volumes?: { name: string; [field: string]: unknown }[];
    [field: string]: unknown;
  };
}

export interface DevContainer {
  service: string;
  /** The container that is replaced. */
  container: string;
  /** Another image than the service's. */
  image?: string;
  command: string[];
  env: Record<string, string>;
  /** Where the source is. */
  workdir: string;
  /** The folder of this machine to mount there; undefined where the files are copied into the running container. */
  mount?: string;
  /** Folders below the working directory that stay as they are in the image, though the source is mounted over them. */
  keep: string[];
  /** It runs under a debugger: who asks whether it is ready has patience. */
  debugged?: boolean;
}

const ownVolume = "kws-dev";
const sourceVolume = "kws-dev-source";
const copyFolder = "/.kws-copy";

export function devTemplate(original: PodTemplate, dev: DevContainer): PodTemplate {
  const { metadata = {}, spec } = original;
  const folders = dev.mount === undefined ? [] : dev.keep;
  const kept = folders.map((path, index) => ({
    name: `kws-dev-keep-${index}`,
    mountPath: `${dev.workdir}/${path}`.replaceAll(/\/+/g, "/"),
  }));
  const source = { name: sourceVolume, mountPath: dev.workdir };
  const containers = spec.containers.map((container) =>
    container.name === dev.container
      ? devContainer(container, dev, [{ name: ownVolume, mountPath: supervisorFolder }, source, ...kept])
      : container,
  );
  const replaced = containers.find(({ name }) => name === dev.container);
  // Files are copied into a volume: what the image has there may be of another user than the one that runs in it.
  const copied = dev.mount === undefined ? [source] : kept;
  return {
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [devKey]: dev.service },
      annotations: { "kubectl.kubernetes.io/default-container": dev.container, ...metadata.annotations },
    },
    spec: {
      ...spec,
      volumes: [
        ...(spec.volumes ?? []),
        { name: ownVolume, emptyDir: {} },
        dev.mount === undefined
          ? { name: sourceVolume, emptyDir: {} }
          : { name: sourceVolume, hostPath: { path: dev.mount, type: "Directory" } },
        ...kept.map(({ name }) => ({ name, emptyDir: {} })),
      ],
      ...(replaced === undefined || copied.length === 0
        ? {}
        : { initContainers: [copier(replaced, copied), ...(spec.initContainers ?? [])] }),
      containers,
    },
  };
}

function devContainer(
  container: Container,
  dev: DevContainer,
  mounts: { name: string; mountPath: string }[],
): Container {
  // A process that crashed, stands at a breakpoint or compiles is no reason to replace the container.
  const { args: _args, livenessProbe: _liveness, startupProbe: _startup, ...rest } = container;
  const { readinessProbe } = container;
  const names = Object.keys(dev.env);
  return {
    ...rest,
    ...(dev.image === undefined ? {} : { image: dev.image }),
    command: supervised(dev.command, dev.mount === undefined ? "later" : "now"),
    workingDir: dev.workdir,
    ...(names.length === 0
      ? {}
      : {
          env: [
            ...(container.env ?? []).filter(({ name }) => !names.includes(name)),
            ...names.map((name) => ({ name, value: dev.env[name] ?? "" })),
          ],
        }),
    volumeMounts: [...(container.volumeMounts ?? []), ...mounts],
    ...(readinessProbe === undefined
      ? {}
      : { readinessProbe: patient(readinessProbe, dev.debugged === true) }),
  };
}

/** How long an answer may take from a process that stands at a breakpoint. */
const breakpointSeconds = 600;

/**
 * Asked every second, so that a process that was mended gets requests at once, and given a minute, so that one that starts
 * again keeps them. Probes that run a program keep their own pace.
 */
function patient(probe: Probe, debugged: boolean): Probe {
  const pace = probe.exec === undefined ? { periodSeconds: 1 } : {};
  const time = debugged ? { timeoutSeconds: breakpointSeconds } : {};
  return { ...probe, ...pace, ...time, initialDelaySeconds: 0, successThreshold: 1, failureThreshold: 60 };
}

/** Fills volumes with what the image has in their places. */
function copier(container: Container, mounts: { name: string; mountPath: string }[]): Container {
  const { image, imagePullPolicy, securityContext, resources } = container;
  const script = `i=0; for path; do [ ! -d "$path" ] || cp -RP "$path/." "${copyFolder}/$i/" || exit; i=$((i + 1)); done`;
  return {
    name: "kws-dev-copy",
    ...(image === undefined ? {} : { image }),
    imagePullPolicy,
    securityContext,
    resources,
    command: ["sh", "-c", script, "kws-dev-copy", ...mounts.map(({ mountPath }) => mountPath)],
    volumeMounts: mounts.map(({ name }, index) => ({ name, mountPath: `${copyFolder}/${index}` })),
  };
}
