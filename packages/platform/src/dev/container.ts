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
  securityContext?: { readOnlyRootFilesystem?: boolean; [field: string]: unknown };
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
}

const ownVolume = "kws-dev";
const sourceVolume = "kws-dev-source";
const keepFolder = "/.kws-keep";

export function devTemplate(original: PodTemplate, dev: DevContainer): PodTemplate {
  const { metadata = {}, spec } = original;
  const kept = dev.mount === undefined ? [] : dev.keep;
  const mounted = dev.mount === undefined ? [] : [{ name: sourceVolume, mountPath: dev.workdir }];
  const volumes = [
    ...(spec.volumes ?? []),
    { name: ownVolume, emptyDir: {} },
    ...(dev.mount === undefined
      ? []
      : [{ name: sourceVolume, hostPath: { path: dev.mount, type: "Directory" } }]),
    ...kept.map((_path, index) => ({ name: keepVolume(index), emptyDir: {} })),
  ];
  const keepMounts = kept.map((path, index) => ({
    name: keepVolume(index),
    mountPath: `${dev.workdir}/${path}`.replaceAll(/\/+/g, "/"),
  }));
  const containers = spec.containers.map((container) =>
    container.name === dev.container
      ? devContainer(container, dev, [
          { name: ownVolume, mountPath: supervisorFolder },
          ...mounted,
          ...keepMounts,
        ])
      : container,
  );
  const replaced = containers.find(({ name }) => name === dev.container);
  return {
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, [devKey]: dev.service },
      annotations: { "kubectl.kubernetes.io/default-container": dev.container, ...metadata.annotations },
    },
    spec: {
      ...spec,
      volumes,
      ...(replaced === undefined || kept.length === 0
        ? {}
        : { initContainers: [keeper(replaced, dev.workdir, kept), ...(spec.initContainers ?? [])] }),
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
  const { readinessProbe, securityContext } = container;
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
    ...(readinessProbe === undefined ? {} : { readinessProbe: patient(readinessProbe) }),
    // Files that are copied into the container have to be written there.
    ...(dev.mount === undefined && securityContext?.readOnlyRootFilesystem === true
      ? { securityContext: { ...securityContext, readOnlyRootFilesystem: false } }
      : {}),
  };
}

/**
 * Asked every second, so that a process that was mended gets requests at once, and given a minute, so that one that starts
 * again keeps them. Probes that run a program keep their own pace.
 */
function patient(probe: Probe): Probe {
  const pace = probe.exec === undefined ? { periodSeconds: 1 } : {};
  return { ...probe, ...pace, initialDelaySeconds: 0, successThreshold: 1, failureThreshold: 60 };
}

/** Copies what is to be kept out of the image, before the source is mounted over it. */
function keeper(container: Container, workdir: string, paths: string[]): Container {
  const { image, imagePullPolicy, securityContext, resources } = container;
  const script = `i=0; for path; do [ ! -d "$path" ] || cp -a "$path/." "${keepFolder}/$i/"; i=$((i + 1)); done`;
  return {
    name: "kws-dev-keep",
    ...(image === undefined ? {} : { image }),
    imagePullPolicy,
    securityContext,
    resources,
    command: ["sh", "-c", script, "kws-dev-keep", ...paths],
    workingDir: workdir,
    volumeMounts: paths.map((_path, index) => ({
      name: keepVolume(index),
      mountPath: `${keepFolder}/${index}`,
    })),
  };
}

function keepVolume(index: number): string {
  return `kws-dev-keep-${index}`;
}
