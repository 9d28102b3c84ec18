/** What a service's development looks like: which container of which workload is replaced, and by what. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import type { DevRule } from "../project/schema.ts";
import { inside, type ProjectService } from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";
import type { Workload } from "../services/workloads.ts";
import type { Container } from "./container.ts";
import { type Debugger, debuggerOf, type DebugStart } from "./debug/debugger.ts";
import { defaultsOf, productionCommand } from "./defaults.ts";
import { readImageConfig } from "./image.ts";
import { checkRules } from "./rules.ts";
import { originalTemplate } from "./swap.ts";

export interface DevPlan {
  kind: "Deployment" | "StatefulSet";
  /** The workload's. */
  name: string;
  container: string;
  /** The folder of the sources on this machine, absolute. */
  source: string;
  command: string[];
  /** What it runs under; undefined where nobody debugs it. */
  debugger: Debugger | undefined;
  /** Where that folder is in the container. */
  workdir: string;
  /** Another image than the service's own. */
  image: string | undefined;
  /** The stage of the Dockerfile to build it from. */
  target: string | undefined;
  keep: string[];
  /** Patterns as in .gitignore. */
  ignore: string[];
  rules: DevRule[];
}

export async function planDev(
  service: ProjectService,
  workloads: Workload[],
  provider: Provider,
  signal: AbortSignal,
  debug?: DebugStart,
): Promise<DevPlan> {
  checkRules(service);
  const { name, config, file } = service;
  const dev = config.dev ?? {};
  const { kind, object } = chooseWorkload(service, workloads);
  const container = chooseContainer(service, object);
  const built = config.build !== undefined || config.images !== undefined;
  const image = await readImageConfig(provider, dev.image ?? container.image ?? "", signal);
  const production = productionCommand(container, image);
  const source = await sourceOf(service);
  const defaults = await defaultsOf(source, { built, production });
  const command = dev.command ?? defaults.command;
  if (command === undefined) {
    throw new UserError(`nothing says what runs in the dev container of ${name}`, {
      code: "config",
      at: file.at(["dev"], true),
      fix: "Add dev.command to its kws.yaml, such as `dev: { command: [node, server.js] }`.",
    });
  }
  const workdir = dev.workdir ?? container.workingDir ?? image?.WorkingDir;
  if (workdir === undefined || workdir === "" || workdir === "/") {
    throw new UserError(`nothing says where the source of ${name} is in its container`, {
      code: "config",
      at: file.at(["dev"], true),
      fix: "Add dev.workdir to its kws.yaml, such as `dev: { workdir: /app }`.",
    });
  }
  const underDebugger = debug === undefined ? undefined : debuggerOf(service, command, debug);
  return {
    kind,
    name: object.metadata.name,
    container: container.name,
    source,
    command: underDebugger?.command ?? command,
    debugger: underDebugger,
    workdir,
    image: dev.image,
    target: dev.target ?? (dev.image === undefined && built ? defaults.target : undefined),
    keep: dev.keep ?? defaults.keep,
    ignore: [...ownFiles(service, source), ...(dev.ignore ?? [])],
    rules: dev.rules ?? defaults.rules,
  };
}

async function sourceOf({ dir, root, config, file }: ProjectService): Promise<string> {
  const given = config.dev?.source;
  if (given === undefined) return dir;
  const at = file.at(["dev", "source"]);
  const source = await inside(root, resolve(dir, given), at);
  if (existsSync(source) && (await stat(source)).isDirectory()) return source;
  throw new UserError(`${given} is no folder`, {
    code: "config",
    at,
    fix: "Name the folder that the service's sources are in.",
  });
}

/** Patterns for what no container needs of the sources: the chart and what kws reads. */
function ownFiles({ dir, config }: ProjectService, source: string): string[] {
  return [resolve(dir, config.chart ?? "chart"), join(dir, "kws.yaml"), join(source, "kws.yaml")]
    .map((path) => relative(source, path))
    .filter((path, index, all) => !path.startsWith("..") && all.indexOf(path) === index)
    .map((path) => `/${path}`);
}

function chooseWorkload(
  { name, config, file }: ProjectService,
  workloads: Workload[],
): { kind: "Deployment" | "StatefulSet"; object: KubeObject } {
  const wanted = config.dev?.workload;
  const candidates = workloads.filter((one) => wanted === undefined || one.name === wanted);
  const replaceable = candidates.flatMap(({ kind, object }) =>
    kind === "Deployment" || kind === "StatefulSet" ? [{ kind, object }] : [],
  );
  if (wanted !== undefined && candidates.length === 0) {
    throw new UserError(`${name} has no workload "${wanted}"`, {
      code: "not-found",
      at: file.at(["dev", "workload"]),
      fix: `Name one of: ${workloads.map((one) => one.name).join(", ")}.`,
    });
  }
  const [other] = candidates;
  if (replaceable.length === 0 && other !== undefined) {
    throw new UserError(`${name} runs as a ${other.kind}, which cannot be replaced by a dev container`, {
      code: "usage",
      fix: "Development mode is for Deployments and StatefulSets.",
    });
  }
  // Its own image is what is developed, also where the chart brings a cache or a proxy along.
  const own = replaceable.filter(({ object }) => containersOf(object).some(isOwnImage(name)));
  const [found, ...more] = own.length > 0 ? own : replaceable;
  if (found === undefined) {
    throw new UserError(`${name} has nothing that runs`, {
      code: "not-found",
      fix: "Start its stack with `kws stack start`.",
    });
  }
  if (more.length > 0) {
    const names = [found, ...more].map(({ object }) => object.metadata.name).join(", ");
    throw new UserError(`${name} has several workloads: ${names}`, {
      code: "config",
      at: file.at(["dev"], true),
      fix: "Name the one to replace with dev.workload in its kws.yaml.",
    });
  }
  const { object } = found;
  const strategy = object["spec"]?.updateStrategy as
    | { type?: string; rollingUpdate?: { partition?: number } }
    | undefined;
  if (strategy?.type === "OnDelete" || (strategy?.rollingUpdate?.partition ?? 0) > 0) {
    throw new UserError(`the pods of ${object.metadata.name} are not replaced when it changes`, {
      code: "config",
      fix: "Set its updateStrategy to RollingUpdate without a partition in the chart's values.",
    });
  }
  return found;
}

function chooseContainer({ name, config, file }: ProjectService, object: KubeObject): Container {
  const containers = containersOf(object);
  const wanted = config.dev?.container;
  const { annotations } = originalTemplate(object).metadata ?? {};
  const preferred = annotations?.["kubectl.kubernetes.io/default-container"];
  const found =
    wanted === undefined
      ? (containers.find(isOwnImage(name)) ??
        containers.find((container) => container.name === preferred) ??
        containers[0])
      : containers.find((container) => container.name === wanted);
  if (found !== undefined) return found;
  throw new UserError(`${object.metadata.name} has no container "${wanted}"`, {
    code: "not-found",
    at: file.at(["dev", "container"]),
    fix: `Name one of: ${containers.map((container) => container.name).join(", ")}.`,
  });
}

function containersOf(object: KubeObject): Container[] {
  return originalTemplate(object).spec.containers;
}

/** Images of a service are called after it, wherever they were pushed. */
function isOwnImage(service: string) {
  return ({ image = "" }: Container) => {
    const repository = image.replace(/@.*$/, "").replace(/:[^/]*$/, "");
    return repository.split("/").at(-1) === service;
  };
}
