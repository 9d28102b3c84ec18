/** Finds the workspace of a folder and reads its kws.yaml; services.ts reads those of its services. */
import { existsSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { UserError } from "@kws/base/errors";
import type { GraphNode } from "./graph.ts";
import { type LocalSettings, readLocal } from "./local.ts";
import { nearest, suggest } from "./nearest.ts";
import { remoteOf } from "./remote.ts";
import {
  type ClusterSettings,
  type Condition,
  type Remote,
  Service,
  UserConfig,
  Workspace,
} from "./schema.ts";
import { validate } from "./validate.ts";
import { parseYaml, readLimited, readYamlFile, type YamlFile } from "./yaml-file.ts";

export const fileName = "kws.yaml";
export const defaultProfile = "local";

/** A service as a stack needs to know it, wherever it comes from. */
export interface StackService {
  name: string;
  /** The file that describes it, and where in it. */
  file: YamlFile;
  keys: string[];
  /** Services. */
  dependsOn: string[];
  /** What else must be so before it is installed. */
  conditions: Condition[];
  tags: string[];
  pin: PackagePin;
  /** True where it is there as a package alone. */
  packaged: boolean;
}

/** Which package is the service's. */
export interface PackagePin {
  /** `oci://…` or `https://…`; the workspace's own packages where it is undefined. */
  chart: string | undefined;
  /** A version, or a range; the newest where it is undefined. */
  version: string | undefined;
  /** Where in a file it is said. */
  at: string;
}

/** A service whose source is at hand. */
export interface ProjectService extends StackService {
  /** The service's folder, absolute, symlinks resolved. */
  dir: string;
  /** What its image may be built from, absolute: its folder, or a wider one that the workspace's own file names. */
  root: string;
  config: Service;
  /** Undefined where the workspace's own file names the folder. */
  origin?: Origin;
}

/** How a service's folder came to be the one, and what the workspace pins instead of it, where it does. */
export interface Origin {
  /** The pin's own checkout, a link of kws.local.yaml, or a clone beside the workspace. */
  how: "pin" | "link" | "clone";
  pin?: GitPin;
}

/** A commit, tag or branch of a repository. */
export interface GitPin {
  url: string;
  ref: string;
}

export interface ProjectStack {
  name: string;
  namespace: string;
  profile: string;
  /** Undefined: all services of the workspace. */
  services: string[] | undefined;
  /** Which of them are used from another cluster. */
  remote?: Remote | undefined;
}

export interface Project {
  name: string;
  root: string;
  file: YamlFile;
  workspace: Workspace;
  stacks: ProjectStack[];
  cluster: ClusterSettings;
  local: LocalSettings;
  /** True where the file is a lone service's own. */
  implicit: boolean;
}

/**
 * The workspace's file for a folder: the nearest kws.yaml, walking up, that has services or stacks; where there is none,
 * the nearest one at all. `given` (a file or a folder) is taken as it is.
 */
export async function findProjectFile(cwd: string, given?: string): Promise<string> {
  if (given !== undefined) {
    const path = resolve(cwd, given);
    const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
    return isFolder ? join(path, fileName) : path;
  }
  let service: string | undefined;
  for (let dir = cwd; ; dir = dirname(dir)) {
    const path = join(dir, fileName);
    if (existsSync(path)) {
      const text = await readLimited(path);
      // Large workspaces are parsed once, when they are loaded.
      if (/^(services|stacks):/m.test(text) || isWorkspace(parseYaml(path, text))) return path;
      service ??= path;
    }
    if (dirname(dir) === dir) break;
  }
  if (service !== undefined) return service;
  throw new UserError(`there is no ${fileName} in ${cwd} or above it`, {
    code: "config",
    fix: "Run `kws init` to make one, or name it with --file.",
  });
}

/** By its own keys; where there is none of them, by what its unknown keys were probably meant to be. */
export function isWorkspace(file: YamlFile): boolean {
  const { value } = file;
  if (typeof value !== "object" || value === null) return false;
  if ("services" in value || "stacks" in value) return true;
  const known = new Set(Object.keys({ ...Workspace.properties, ...Service.properties }));
  return Object.keys(value)
    .filter((key) => !known.has(key))
    .some((key) => ["services", "stacks"].includes(nearest(key, known) ?? ""));
}

export async function loadProject(path: string): Promise<Project> {
  const file = await readYamlFile(path);
  const root = await realpath(dirname(path));
  if (file.value === null || file.value === undefined) {
    throw new UserError(`${path} is empty`, { code: "config", at: path, fix: "Run `kws init` to fill it." });
  }
  if (!isWorkspace(file)) {
    const service = validate(file, Service, "the service");
    const workspace: Workspace = { name: service.name, services: { [service.name]: { path: "." } } };
    return { ...(await base(service.name, root, file, workspace)), implicit: true };
  }
  const workspace = validate(file, Workspace, "the workspace");
  checkKeys(file, workspace);
  const name = workspace.name ?? toName(basename(root));
  return { ...(await base(name, root, file, workspace)), implicit: false };
}

async function base(
  name: string,
  root: string,
  file: YamlFile,
  workspace: Workspace,
): Promise<Omit<Project, "implicit">> {
  const stacks = workspace.stacks ?? { [name]: {} };
  const local = await readLocal(root);
  const remote = remoteOf(file, stacks, local);
  return {
    name,
    root,
    file,
    workspace,
    local,
    cluster: local.settings.cluster ?? workspace.cluster ?? {},
    stacks: Object.entries(stacks).map(([stack, settings]) => ({
      name: stack,
      namespace: settings.namespace ?? stack,
      profile: settings.profile ?? defaultProfile,
      services: settings.services,
      remote: remote[stack],
    })),
  };
}

/** A folder's name made into a valid name. */
export function toName(text: string): string {
  const name = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  return name.slice(0, 53).replace(/-+$/, "") || "workspace";
}

function checkKeys(file: YamlFile, workspace: Workspace): void {
  const services = Array.isArray(workspace.services) ? [] : Object.keys(workspace.services ?? {});
  for (const [parent, names] of [
    ["services", services],
    ["stacks", Object.keys(workspace.stacks ?? {})],
  ] as const) {
    const bad = names.find((name) => !/^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$/.test(name));
    if (bad === undefined) continue;
    throw new UserError(`${JSON.stringify(bad)} cannot be a name under ${parent}`, {
      code: "config",
      at: file.at([parent, bad], true),
      fix: "Use lower-case letters, digits and hyphens.",
    });
  }
}

export function hasSource(service: StackService): service is ProjectService {
  return !service.packaged;
}

export function graphNode({ name, dependsOn, file, keys }: StackService): GraphNode {
  return {
    name,
    dependsOn,
    at(index) {
      const written = dependenciesAt(file, keys);
      return file.at([...keys, "dependsOn", written.indexOf(dependsOn[index])]);
    },
  };
}

/** As they are written: names and conditions. */
function dependenciesAt(file: YamlFile, keys: string[]): unknown[] {
  const value = keys.reduce((inner: unknown, key) => (inner as Record<string, unknown>)[key], file.value);
  return (value as { dependsOn?: unknown[] }).dependsOn ?? [];
}

/** A path inside a folder, symlinks followed; refuses one that leads out of it. */
export async function inside(root: string, path: string, at: string): Promise<string> {
  const home = await realpath(root);
  const target = await realpath(resolve(home, path)).catch(() => resolve(home, path));
  const way = relative(home, target);
  if (way === ".." || way.startsWith(`..${sep}`) || resolve(target) !== join(home, way)) {
    throw new UserError(`${path} leads out of ${root}`, {
      code: "config",
      at,
      fix: "Use a path inside that folder.",
    });
  }
  return target;
}

/** The stack by name; the only one unless named. */
export function findStack(project: Project, name?: string): ProjectStack {
  const names = project.stacks.map((stack) => stack.name);
  const [only, ...more] = project.stacks;
  if (name === undefined && only !== undefined && more.length === 0) return only;
  if (name === undefined) {
    throw new UserError("the workspace has several stacks", {
      code: "usage",
      fix: `Name one of: ${names.join(", ")}.`,
    });
  }
  const stack = project.stacks.find((candidate) => candidate.name === name);
  if (stack !== undefined) return stack;
  throw new UserError(`there is no stack "${name}" in ${project.file.path}`, {
    code: "not-found",
    fix: suggest(name, names, "Add it under stacks."),
  });
}

/** The user's own settings, or none. */
export async function loadUserConfig(configDir: string): Promise<UserConfig> {
  const path = join(configDir, "config.yaml");
  if (!existsSync(path)) return {};
  const file = await readYamlFile(path);
  return file.value === null ? {} : validate(file, UserConfig, "the user configuration");
}
