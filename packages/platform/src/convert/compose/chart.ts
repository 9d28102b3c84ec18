/** The chart of one service: a workload, Services, an Ingress, claims, and what the library chart makes of its values. */
import { existsSync } from "node:fs";
import { libraryFiles } from "../../charts/library.ts";
import { readLimited } from "../../project/yaml-file.ts";
import { Template, yamlText } from "../templates.ts";
import {
  annotationsOf,
  commandOf,
  compact,
  isUnprobed,
  lifecycleOf,
  podFieldsOf,
  probeOf,
  resourcesOf,
  seconds,
  securityOf,
} from "./container.ts";
import { parseEnvFile } from "./env-file.ts";
import { type Environment, environmentOf } from "./environment.ts";
import { isText } from "./files.ts";
import { isHttp, type Port, portsOf, probedPort } from "./ports.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import { flag, get, items, number, text, type Tree } from "./tree.ts";
import { filesVolume, isGlobal, secretFilesVolume, type Volumes, volumesOf } from "./volumes.ts";

export interface ServiceChart {
  /** By path below the chart's folder. */
  files: Map<string, string | Uint8Array>;
  /** Of the profile `local`, to be encrypted: `secrets` and `secretFiles`. */
  secrets: Record<string, unknown>;
  /** Where each of them comes from, by name. */
  secretPlaces: [string, Tree][];
  volumes: Volumes;
}

interface Parts {
  project: ComposeProject;
  service: ComposeService;
  environment: Environment;
  ports: Port[];
  volumes: Volumes;
  annotations: Record<string, string>;
}

export async function chartOf(project: ComposeProject, service: ComposeService): Promise<ServiceChart> {
  const { tree, name } = service;
  const environment = await environmentOf(project, service);
  const ports = await portsOf(project, service);
  const volumes = await volumesOf(project, service);
  const annotations = {
    ...(await labelsOfFiles(tree)),
    ...annotationsOf(project, tree, "labels", "annotations"),
  };
  const parts: Parts = { project, service, environment, ports, volumes, annotations };
  const http = ports.find(isHttp);
  const files = new Map<string, string | Uint8Array>([
    ["Chart.yaml", chartYaml(name)],
    ["values.yaml", valuesYaml(parts)],
    ["templates/configuration.yaml", `{{ include "kws.configuration" . }}\n`],
    [`templates/${kindOf(parts).toLowerCase()}.yaml`, workload(parts)],
    ...Object.entries(await libraryFiles()),
  ]);
  if (!service.isJob) files.set("templates/service.yaml", servicesYaml(parts));
  if (http !== undefined) {
    files.set("templates/ingress.yaml", ingressYaml());
    files.set("profiles/local/values.yaml", "# For a stack on this machine.\ningress:\n  enabled: true\n");
  } else {
    files.set("profiles/local/values.yaml", "# For a stack on this machine.\n");
  }
  if (volumes.shared.size > 0) files.set("templates/claims.yaml", claimsYaml(volumes.shared));
  addFiles(files, volumes);
  reportPublished(parts);
  const secretFiles = [...volumes.files.secret].map(([key, { content }]): [string, unknown] => [
    key,
    isText(content) ? Buffer.from(content).toString() : { base64: Buffer.from(content).toString("base64") },
  ]);
  const secretValues = [...environment.secrets].map(([key, { value }]): [string, unknown] => [key, value]);
  return {
    files,
    secrets: compact({
      secrets: Object.fromEntries(secretValues),
      secretFiles: Object.fromEntries(secretFiles),
    }),
    secretPlaces: [...environment.secrets, ...volumes.files.secret].map(([name, { place }]) => [name, place]),
    volumes,
  };
}

async function labelsOfFiles(tree: Tree): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const file of items(get(tree, "label_file"))) {
    const path = text(file) ?? "";
    if (!existsSync(path)) continue;
    for (const [name, value] of parseEnvFile(await readLimited(path), () => undefined).values)
      found[name] = value ?? "";
  }
  return found;
}

function chartYaml(name: string): string {
  return yamlText({
    apiVersion: "v2",
    name,
    description: `The service ${name}`,
    type: "application",
    version: "0.1.0",
    dependencies: [{ name: "kws", version: "1.x" }],
  });
}

/** `host/repository:tag@digest`. */
export function imageParts(image: string): { repository: string; tag: string; digest: string } {
  const [rest = "", digest = ""] = image.split("@");
  const [, repository = rest, tag] = /^(.*?)(?::([\w][\w.-]{0,127}))?$/.exec(rest) ?? [];
  return { repository, tag: tag ?? "latest", digest };
}

function valuesYaml({ project, service, environment, ports, volumes }: Parts): string {
  const { tree, name } = service;
  const replicas = number(get(tree, "deploy", "replicas")) ?? number(get(tree, "scale")) ?? 1;
  if (replicas > 1 && volumes.own.size > 0) {
    project.report(
      "note",
      tree,
      `each of the ${replicas} replicas has volumes of its own, where Compose shares them`,
    );
  }
  const claims = [...volumes.own, ...volumes.shared].map((volume): [string, unknown] => [
    volume,
    { size: "1Gi", accessModes: ["ReadWriteOnce"], class: "" },
  ]);
  const config = Object.fromEntries(environment.config);
  const parts = [
    yamlText({ image: imageParts(text(get(tree, "image")) ?? name) }),
    service.isJob || isGlobal(tree) ? "" : yamlText({ replicas }),
    "# Environment variables: plain ones, and those of profiles/<profile>/secrets.yaml. Pods are replaced when one changes.\n",
    yamlText({ config, secrets: {} }),
    volumes.files.secret.size > 0
      ? `# Files of profiles/<profile>/secrets.yaml.\n${yamlText({ secretFiles: {} })}`
      : "",
    yamlText({ resources: resourcesOf(project, service) }),
    claims.length > 0
      ? `# Claims. Without a class, the cluster's default one is used.\n${yamlText({ storage: Object.fromEntries(claims) })}`
      : "",
    service.isJob
      ? ""
      : "# LoadBalancer or NodePort where others than Ingress hosts are to be reached from outside.\nserviceType: ClusterIP\n",
    ports.some(isHttp) ? yamlText({ ingress: { enabled: false, domain: "localhost" } }) : "",
  ];
  return parts.join("");
}

type Kind = "Deployment" | "StatefulSet" | "DaemonSet" | "Job";

function kindOf({ service, volumes }: Pick<Parts, "service" | "volumes">): Kind {
  if (service.isJob) return "Job";
  if (isGlobal(service.tree)) return "DaemonSet";
  return volumes.own.size > 0 ? "StatefulSet" : "Deployment";
}

const nameOf = '{{ include "kws.name" . | quote }}';
const serviceNameOf = '{{ include "kws.serviceName" . | quote }}';

function workload(parts: Parts): string {
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

function claimSpec(template: Template, volume: string): object {
  const value = (key: string) => `(index .Values.storage ${JSON.stringify(volume)}).${key}`;
  return {
    accessModes: template.expression(`{{ ${value("accessModes")} | toJson }}`),
    [template.optional("storageClassName", value("class"))]: null,
    resources: { requests: { storage: template.expression(`{{ ${value("size")} }}`) } },
  };
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

function probesOf({ service, ports }: Parts): Record<string, unknown> {
  const probe = probeOf(service);
  if (probe !== undefined) return { readinessProbe: probe };
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

/** The Service, and one for each other name. Without a known port it is headless: the name leads to the pods, whatever the port. */
function servicesYaml({ service, ports }: Parts): string {
  const template = new Template();
  const isHeadless = ports.length === 0 || text(get(service.tree, "deploy", "endpoint_mode")) === "dnsrr";
  const one = (name: string): string =>
    template.write({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, labels: template.block('include "kws.labels" .') },
      spec: compact({
        ...(isHeadless ? { clusterIP: "None" } : { type: template.expression("{{ .Values.serviceType }}") }),
        selector: template.block('include "kws.selector" .'),
        ports: ports.map(({ name: port, port: number, protocol, appProtocol }) =>
          compact({
            name: port,
            port: number,
            targetPort: port,
            protocol: protocol === "TCP" ? undefined : protocol,
            appProtocol,
          }),
        ),
      }),
    });
  return [one(template.expression(serviceNameOf)), ...service.aliases.map(one)].join("---\n");
}

function ingressYaml(): string {
  const template = new Template();
  const written = template.write({
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: template.expression(nameOf), labels: template.block('include "kws.labels" .') },
    spec: {
      rules: [
        {
          host: template.expression(
            '{{ include "kws.name" . }}.{{ .Release.Namespace }}.{{ .Values.ingress.domain }}',
          ),
          http: {
            paths: [
              {
                path: "/",
                pathType: "Prefix",
                backend: { service: { name: template.expression(serviceNameOf), port: { name: "http" } } },
              },
            ],
          },
        },
      ],
    },
  });
  return `{{- if .Values.ingress.enabled }}\n${written}{{- end }}\n`;
}

/** Claims outlive the release, as volumes outlive `docker compose down`. */
function claimsYaml(volumes: Set<string>): string {
  return [...volumes]
    .map((volume) => {
      const template = new Template();
      return template.write({
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: {
          name: volume,
          labels: template.block('include "kws.labels" .'),
          annotations: { "helm.sh/resource-policy": "keep" },
        },
        spec: claimSpec(template, volume),
      });
    })
    .join("---\n");
}

function addFiles(files: Map<string, string | Uint8Array>, volumes: Volumes): void {
  const { plain, secret } = volumes.files;
  for (const [key, content] of plain) files.set(`${isText(content) ? "files" : "binary"}/${key}`, content);
  const template = new Template();
  const metadata = (suffix: string) => ({
    name: template.expression(`{{ include "kws.name" . }}-${suffix}`),
    labels: template.block('include "kws.labels" .'),
  });
  if (plain.size > 0) {
    const contents = [...plain.values()];
    const object: Record<string, unknown> = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: metadata("files"),
    };
    if (contents.some(isText)) object["data"] = template.block('(.Files.Glob "files/*").AsConfig');
    if (contents.some((one) => !isText(one)))
      object["binaryData"] = template.block('(.Files.Glob "binary/*").AsSecrets');
    files.set("templates/files.yaml", template.write(object));
  }
  if (secret.size > 0) {
    const head = template.write({
      apiVersion: "v1",
      kind: "Secret",
      metadata: metadata("secret-files"),
      type: "Opaque",
    });
    files.set(
      "templates/secret-files.yaml",
      `${head}data:
  {{- $data := include "kws.data" (dict "of" "secretFiles" "values" .Values.secretFiles) | fromJson }}
  {{- range $key, $value := $data.text }}
  {{ $key | quote }}: {{ $value | b64enc | quote }}
  {{- end }}
  {{- range $key, $value := $data.base64 }}
  {{ $key | quote }}: {{ $value | quote }}
  {{- end }}
`,
    );
  }
}

/** What was reached on the machine and is not any more, by the place that says it: a range is one. */
function reportPublished({ project, service, ports }: Parts): void {
  const http = ports.find(isHttp);
  const places = new Map<string, { place: Tree; targets: number[] }>();
  for (const place of items(get(service.tree, "ports"))) {
    const known = places.get(place.path) ?? { place, targets: [] };
    known.targets.push(number(get(place, "target")) ?? 0);
    places.set(place.path, known);
  }
  for (const { place, targets } of places.values()) {
    const others = targets.filter((target) => target !== http?.port);
    if (others.length < targets.length) {
      project.report(
        "note",
        place,
        `port ${http?.port} is reached as http://${service.name}.<stack>.localhost, by the Ingress`,
      );
    }
    if (others.length > 0) {
      project.report(
        "note",
        place,
        `port ${others.join(", ")} is not published on this machine`,
        `Forward it (kubectl port-forward service/${service.name} ${others.join(" ")}), or set serviceType in the values.`,
      );
    }
  }
}
