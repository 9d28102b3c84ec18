/** Finds the workspace of a folder, reads its kws.yaml and those of its services, and checks how they fit together. */
import { existsSync } from "node:fs";
import { glob, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { UserError } from "@kws/base/errors";
import { checkout, type GitOptions } from "./git.ts";
import { checkGraph, type GraphNode } from "./graph.ts";
import { nearest, suggest } from "./nearest.ts";
import { type ClusterSettings, type Condition, Service, UserConfig, Workspace } from "./schema.ts";
import { validate } from "./validate.ts";
import { readYamlFile, type YamlFile } from "./yaml-file.ts";

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
}

export interface ProjectStack {
  name: string;
  namespace: string;
  profile: string;
  /** Undefined: all services of the workspace. */
  services: string[] | undefined;
}

export interface Project {
  name: string;
  root: string;
  file: YamlFile;
  workspace: Workspace;
  stacks: ProjectStack[];
  cluster: ClusterSettings;
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
      if (isWorkspace(await readYamlFile(path))) return path;
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
    return { ...base(service.name, root, file, workspace), implicit: true };
  }
  const workspace = validate(file, Workspace, "the workspace");
  checkKeys(file, workspace);
  const name = workspace.name ?? toName(basename(root));
  return { ...base(name, root, file, workspace), implicit: false };
}

function base(name: string, root: string, file: YamlFile, workspace: Workspace): Omit<Project, "implicit"> {
  const stacks = workspace.stacks ?? { [name]: {} };
  return {
    name,
    root,
    file,
    workspace,
    cluster: workspace.cluster ?? {},
    stacks: Object.entries(stacks).map(([stack, settings]) => ({
      name: stack,
      namespace: settings.namespace ?? stack,
      profile: settings.profile ?? defaultProfile,
      services: settings.services,
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

/** The services whose source is at hand, or is in git; all of the workspace is checked. */
export async function loadServices(
  project: Project,
  options: Omit<GitOptions, "at">,
): Promise<ProjectService[]> {
  return (await loadStackServices(project, options)).filter(hasSource);
}

export function hasSource(service: StackService): service is ProjectService {
  return !service.packaged;
}

export interface LoadOptions extends Omit<GitOptions, "at"> {
  /** Services that live in git are taken as packages, and nothing is cloned. */
  noClones?: boolean;
}

/** Reads every service's kws.yaml, cloning what lives in git, and checks names and dependencies. */
export async function loadStackServices(project: Project, options: LoadOptions): Promise<StackService[]> {
  const sources = await findSources(project, options);
  const services = [
    ...(await Promise.all(sources.map((source) => loadService(project, source)))),
    ...packagedServices(project, options),
  ];
  const seen = new Map<string, StackService>();
  for (const service of services) {
    const other = seen.get(service.name);
    if (other !== undefined && hasSource(other) && hasSource(service) && other.dir !== service.dir) {
      refuseSame(other, service);
    }
    seen.set(service.name, service);
  }
  const unique = [...seen.values()];
  checkGraph(unique.map(graphNode));
  for (const stack of project.stacks) checkStack(project, stack, unique);
  return unique;
}

function refuseSame(one: ProjectService, other: ProjectService): never {
  throw new UserError(`two services are called "${one.name}": ${one.dir} and ${other.dir}`, {
    code: "config",
    at: other.file.at(["name"]),
    fix: "Rename one of them.",
  });
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

function dependencies(written: (string | Condition)[] = []): Pick<StackService, "dependsOn" | "conditions"> {
  return {
    dependsOn: written.filter((one) => typeof one === "string"),
    conditions: written.filter((one) => typeof one !== "string"),
  };
}

interface Source {
  /** The name it was given, where it was. */
  key?: string;
  dir: string;
  root?: string;
  at: string;
  pin?: PackagePin;
  tags?: string[] | undefined;
}

/** What a mapping of services says of one. */
type Entry = Exclude<NonNullable<Workspace["services"]>, unknown[]>[string];

function entriesOf({ workspace }: Project): [string, Entry][] {
  const { services = {} } = workspace;
  return Array.isArray(services) ? [] : Object.entries(services);
}

function pinOf({ file }: Project, name: string, { chart, version }: Entry): PackagePin {
  const keys = ["services", name];
  if (chart !== undefined && !/^(oci|https?):\/\/[^/]+\/.*[^/]$/.test(chart)) {
    throw new UserError(`the chart ${chart} is not an address of a chart`, {
      code: "config",
      at: file.at([...keys, "chart"]),
      fix: "Write it as oci://host/path/name, or as https://host/path/name.",
    });
  }
  return { chart, version, at: file.at(version === undefined ? keys : [...keys, "version"]) };
}

function packagedServices(project: Project, { noClones }: LoadOptions): StackService[] {
  return entriesOf(project).flatMap(([name, source]) => {
    if ("git" in source ? noClones !== true : "path" in source) return [];
    const { tags = [] } = source;
    const dependsOn = "dependsOn" in source ? source.dependsOn : [];
    const keys = ["services", name];
    const pin = pinOf(project, name, source);
    return [{ name, file: project.file, keys, ...dependencies(dependsOn), tags, pin, packaged: true }];
  });
}

/** `loadStackServices` that goes on after a fault: the services that could be read, and all faults but those of the graph. */
export async function surveyServices(
  project: Project,
  options: LoadOptions,
): Promise<{ services: StackService[]; faults: UserError[] }> {
  const faults: UserError[] = [];
  const attempt = async <T>(work: () => T | Promise<T>): Promise<T[]> => {
    try {
      return [await work()];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      faults.push(error);
      return [];
    }
  };
  const { workspace } = project;
  const { services: listed = {} } = workspace;
  const only = (services: Workspace["services"]) => ({ ...project, workspace: { ...workspace, services } });
  const sources = Array.isArray(listed)
    ? await Promise.all(listed.map((pattern, index) => attempt(() => expand(project, pattern, index))))
    : await Promise.all(
        Object.entries(listed).map(([name, entry]) =>
          attempt(() => findSources(only({ [name]: entry }), options)),
        ),
      );
  const read = await Promise.all(
    sources.flat(2).map((source) => attempt(() => loadService(project, source))),
  );
  const services = read.flat();
  const packaged = (await attempt(() => packagedServices(project, options))).flat();
  for (const [index, service] of services.entries()) {
    const other = services
      .slice(0, index)
      .find(({ name, dir }) => name === service.name && dir !== service.dir);
    if (other !== undefined) await attempt(() => refuseSame(other, service));
  }
  const all = [...services, ...packaged];
  // One that cannot be read is not missing.
  if (faults.length === 0)
    for (const stack of project.stacks) await attempt(() => checkStack(project, stack, all));
  return { services: all, faults };
}

async function findSources(project: Project, options: LoadOptions): Promise<Source[]> {
  const { services = {} } = project.workspace;
  if (Array.isArray(services))
    return (await Promise.all(services.map((pattern, i) => expand(project, pattern, i)))).flat();
  const found = await Promise.all(
    Object.entries(services).map(async ([key, source]): Promise<Source[]> => {
      const at = project.file.at(["services", key], true);
      const given = { key, tags: source.tags, pin: pinOf(project, key, source) };
      if ("git" in source) {
        if (options.noClones === true) return [];
        const clone = await checkout(source.git, source.ref, { ...options, at });
        const dir = await inside(clone, source.path ?? ".", project.file.at(["services", key, "path"]));
        return [{ ...given, dir, at }];
      }
      if (!("path" in source)) return [];
      const dir = resolve(project.root, source.path);
      const root = source.root === undefined ? {} : { root: resolve(project.root, source.root) };
      return [{ ...given, ...root, dir, at: project.file.at(["services", key, "path"]) }];
    }),
  );
  return found.flat();
}

async function expand(project: Project, pattern: string, index: number): Promise<Source[]> {
  const at = project.file.at(["services", index]);
  if (!/[*?[{]/.test(pattern)) return [{ dir: resolve(project.root, pattern), at }];
  const found: Source[] = [];
  for await (const match of glob(`${pattern.replace(/\/+$/, "")}/${fileName}`, {
    cwd: project.root,
    exclude: (name) => name.includes("node_modules"),
  })) {
    found.push({ dir: dirname(join(project.root, match)), at });
  }
  if (found.length > 0) return found.sort((a, b) => a.dir.localeCompare(b.dir));
  throw new UserError(`no folder that matches ${pattern} holds a ${fileName}`, {
    code: "config",
    at,
    fix: "Correct the pattern, or run `kws init` in the service's folder.",
  });
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

async function loadService(project: Project, source: Source): Promise<ProjectService> {
  const path = join(source.dir, fileName);
  if (!existsSync(path)) {
    throw new UserError(`${source.dir} holds no ${fileName}`, {
      code: "config",
      at: source.at,
      fix: existsSync(source.dir) ? "Run `kws init` in that folder." : "Correct the path.",
    });
  }
  const file = path === project.file.path ? project.file : await readYamlFile(path);
  const config = validate(file, Service, "the service");
  if (source.key !== undefined && source.key !== config.name) {
    throw new UserError(
      `the service calls itself "${config.name}", and the workspace calls it "${source.key}"`,
      {
        code: "config",
        at: file.at(["name"]),
        fix: "Use one name.",
      },
    );
  }
  if (config.build !== undefined && config.images !== undefined) {
    throw new UserError("a service has either `build` (one image) or `images` (several)", {
      code: "config",
      at: file.at(["images"], true),
      fix: "Move `build` under `images`.",
    });
  }
  const dir = await realpath(source.dir);
  return {
    name: config.name,
    dir,
    root: source.root ?? dir,
    config,
    file,
    keys: [],
    ...dependencies(config.dependsOn),
    tags: [...(config.tags ?? []), ...(source.tags ?? [])],
    pin: source.pin ?? { chart: undefined, version: undefined, at: file.at(["name"]) },
    packaged: false,
  };
}

function checkStack(project: Project, stack: ProjectStack, services: StackService[]): void {
  const known = services.map((service) => service.name);
  for (const [index, name] of (stack.services ?? []).entries()) {
    if (known.includes(name)) continue;
    throw new UserError(`the stack ${stack.name} has "${name}", which is not a service of the workspace`, {
      code: "config",
      at: project.file.at(["stacks", stack.name, "services", index]),
      fix: suggest(name, known, "Add it under services."),
    });
  }
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
