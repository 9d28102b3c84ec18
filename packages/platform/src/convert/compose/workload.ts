/** The template of a service's workload: a Deployment, a StatefulSet where it has claims of its own, a DaemonSet or a Job. */
import { Template } from "../templates.ts";
import {
  annotationsOf,
  commandOf,
  compact,
  isUnprobed,
  lifecycleOf,
  podFieldsOf,
  healthProbes,
  seconds,
  securityOf,
} from "./container.ts";
import { filesVolume, isGlobal, secretFilesVolume, type Volumes } from "./mounts.ts";
import { claimSpec } from "./objects.ts";
import { nameOf, type Parts, serviceNameOf } from "./parts.ts";
import { type Port, probedPort } from "./ports.ts";
import { flag, get, number, text, type Tree } from "./tree.ts";

type Kind = "Deployment" | "StatefulSet" | "DaemonSet" | "Job";

export function kindOf({ service, volumes }: Pick<Parts, "service" | "volumes">): Kind {
  if (service.isJob) return "Job";
  if (isGlobal(service.tree)) return "DaemonSet";
  return volumes.own.size > 0 ? "StatefulSet" : "Deployment";
}

/** Text of a template; a Job is a hook of Helm, which waits for it. */
export function workload(parts: Parts): string {
  const { project, service, volumes } = parts;
  const { tree } = service;
  const kind = kindOf(parts);
  const template = new Template();
  const labels = template.block('include "kws.labels" .');
  const selector = template.block('include "kws.selector" .');
  const pod = podTemplate(parts, template);
  const own = annotationsOf(project, tree, "deploy");
  const hook = {
    "helm.sh/hook": "post-install,post-upgrade",
    "helm.sh/hook-delete-policy": "before-hook-creation",
  };
  const metadata = compact({
    name: template.expression(nameOf),
    labels,
    annotations: kind === "Job" ? { ...own, ...hook } : own,
  });
  const delay = get(tree, "deploy", "update_config", "delay");
  const spec: Record<string, unknown> = {};
  if (kind === "Job") {
    spec["backoffLimit"] = number(get(tree, "deploy", "restart_policy", "max_attempts")) ?? 3;
  } else {
    if (kind !== "DaemonSet") spec["replicas"] = template.expression("{{ .Values.replicas }}");
    if (kind === "StatefulSet") spec["serviceName"] = template.expression(serviceNameOf);
    spec["selector"] = { matchLabels: selector };
    const seconds_ = seconds(delay, 0);
    if (seconds_ !== undefined) spec["minReadySeconds"] = seconds_;
    Object.assign(spec, strategyOf(tree, kind, volumes));
  }
  spec["template"] = pod;
  if (kind === "StatefulSet") {
    spec["volumeClaimTemplates"] = [...volumes.own].map((volume) => ({
      metadata: { name: volume },
      spec: claimSpec(template, volume),
    }));
  }
  const apiVersion = kind === "Job" ? "batch/v1" : "apps/v1";
  return template.write({ apiVersion, kind, metadata, spec });
}

/** Two pods that mount the same claim at once may be on two nodes, which most classes cannot do. */
function strategyOf(tree: Tree, kind: Kind, volumes: Volumes): Record<string, unknown> {
  const update = get(tree, "deploy", "update_config");
  const parallel = number(get(update, "parallelism"));
  const isFirst = text(get(update, "order")) === "start-first";
  if (kind === "Deployment") {
    const mountsClaim = [...volumes.volumes.values()].some((volume) => "persistentVolumeClaim" in volume);
    if (mountsClaim) return { strategy: { type: "Recreate" } };
    if (update === undefined) return {};
    const many = parallel === 0 ? "100%" : (parallel ?? 1);
    const rollingUpdate = isFirst
      ? { maxSurge: many, maxUnavailable: 0 }
      : { maxSurge: 0, maxUnavailable: many };
    return { strategy: { type: "RollingUpdate", rollingUpdate } };
  }
  if (kind === "DaemonSet" && parallel !== undefined && parallel > 0)
    return { updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: parallel } } };
  return {};
}

function podTemplate(parts: Parts, template: Template): object {
  const { project, service, volumes, annotations, ports } = parts;
  const { tree } = service;
  const security = securityOf(project, service);
  const checksums: Record<string, unknown> = { [template.keys('include "kws.checksum" .')]: null };
  if (volumes.files.plain.size > 0) {
    checksums["checksum/files"] = template.expression(
      '{{ list (.Files.Glob "files/*").AsSecrets (.Files.Glob "binary/*").AsSecrets | toJson | sha256sum }}',
    );
  }
  if (volumes.files.secret.size > 0)
    checksums["checksum/secret-files"] = template.expression(
      "{{ .Values.secretFiles | toJson | sha256sum }}",
    );
  const container = {
    name: "main",
    image: template.expression('{{ include "kws.image" .Values.image }}'),
    ...pullPolicyOf(tree),
    ...commandOf(project, service),
    ...compact({ workingDir: text(get(tree, "working_dir")) }),
    [template.keys('include "kws.envFrom" .')]: null,
    ...(service.isJob ? {} : compact({ ports: ports.map(containerPort) })),
    ...(service.isJob ? {} : probesOf(parts)),
    ...compact({
      lifecycle: lifecycleOf(service),
      securityContext: security.container,
      stdin: flag(get(tree, "stdin_open")) === true ? true : undefined,
      tty: flag(get(tree, "tty")) === true ? true : undefined,
      volumeMounts: volumes.mounts.map(({ volume, ...mount }) => ({ name: volume, ...mount })),
    }),
    resources: template.block("toYaml .Values.resources"),
  };
  const spec = compact({
    ...(service.isJob ? { restartPolicy: restartOf(tree) } : {}),
    ...podFieldsOf(project, service),
    securityContext: security.pod,
    containers: [container],
    volumes: podVolumes(volumes, template),
  });
  return {
    metadata: {
      labels: template.block('include "kws.selector" .'),
      annotations: { ...annotations, ...checksums },
    },
    spec,
  };
}

function pullPolicyOf(tree: Tree): Record<string, unknown> {
  const policy = text(get(tree, "pull_policy"));
  if (policy === undefined || policy === "build") return {};
  if (policy === "always") return { imagePullPolicy: "Always" };
  return { imagePullPolicy: policy === "never" ? "Never" : "IfNotPresent" };
}

function restartOf(tree: Tree): string {
  const policy =
    text(get(tree, "restart")) ?? text(get(tree, "deploy", "restart_policy", "condition")) ?? "no";
  return policy === "no" || policy === "none" || policy === "false" ? "Never" : "OnFailure";
}

function containerPort({ name, port, protocol }: Port): object {
  return { name, containerPort: port, ...(protocol === "TCP" ? {} : { protocol }) };
}

function probesOf({ project, service, ports }: Parts): Record<string, unknown> {
  const probes = healthProbes(project, service, ports);
  if (probes !== undefined) return probes;
  const port = isUnprobed(service.tree) ? undefined : probedPort(ports, service.tree);
  return port === undefined ? {} : { readinessProbe: { tcpSocket: { port: port.name }, periodSeconds: 2 } };
}

function podVolumes({ volumes, files, mounts }: Volumes, template: Template): object[] {
  const name = (suffix: string) => template.expression(`{{ include "kws.name" . }}-${suffix}`);
  const mode = files.executable ? { defaultMode: template.expression("0755") } : {};
  const all: object[] = [];
  if (mounts.some(({ volume }) => volume === filesVolume))
    all.push({ name: filesVolume, configMap: { name: name("files"), ...mode } });
  if (mounts.some(({ volume }) => volume === secretFilesVolume))
    all.push({ name: secretFilesVolume, secret: { secretName: name("secret-files"), ...mode } });
  for (const [volume, source] of volumes) {
    if (!("files" in source)) {
      all.push({ name: volume, ...source });
      continue;
    }
    const { configMap, secret } = source["files"] as { configMap: object[]; secret: object[] };
    const sources = [
      ...(configMap.length > 0 ? [{ configMap: { name: name("files"), items: configMap } }] : []),
      ...(secret.length > 0 ? [{ secret: { name: name("secret-files"), items: secret } }] : []),
    ];
    all.push({ name: volume, projected: { ...mode, sources } });
  }
  return all;
}
