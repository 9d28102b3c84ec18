/** The chart of one service: a workload, Services, an Ingress, claims, and what the library chart makes of its values. */
import { existsSync } from "node:fs";
import { libraryFiles } from "../../charts/library.ts";
import { readLimited } from "../../project/yaml-file.ts";
import { yamlText } from "../templates.ts";
import { annotationsOf, compact, resourcesOf } from "./container.ts";
import { parseEnvFile } from "./env-file.ts";
import { environmentOf } from "./environment.ts";
import { isText } from "./files.ts";
import { isGlobal, type Volumes } from "./mounts.ts";
import { addFiles, claimsYaml, ingressYaml, servicesYaml } from "./objects.ts";
import type { Parts } from "./parts.ts";
import { isHttp, mayBeHttp, portsOf } from "./ports.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import { get, items, number, text, type Tree } from "./tree.ts";
import { volumesOf } from "./volumes.ts";
import { kindOf, workload } from "./workload.ts";

export interface ServiceChart {
  /** By path below the chart's folder. */
  files: Map<string, string | Uint8Array>;
  /** Of the profile `local`, to be encrypted: `secrets` and `secretFiles`. */
  secrets: Record<string, unknown>;
  /** Where each of them comes from, by name. */
  secretPlaces: [string, Tree][];
  volumes: Volumes;
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
      const isTcp = (text(get(place, "protocol")) ?? "tcp").toLowerCase() === "tcp";
      const forward = `Forward it (kws service forward ${service.name} ${others.join(" ")}), or set serviceType in the values`;
      const declare = "; where it speaks HTTP, say so with `app_protocol: http`, and it gets an Ingress host";
      project.report(
        "note",
        place,
        `port ${others.join(", ")} is not published on this machine`,
        isTcp
          ? `${forward}${http === undefined && others.some(mayBeHttp) ? declare : ""}.`
          : "Set serviceType in the values.",
      );
    }
  }
}
