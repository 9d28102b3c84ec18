/**
 * The services of a workspace: their kws.yaml files, read when they are asked for, so that a command costs what it needs of a
 * workspace and not what the workspace lists; and the checks of how they fit together.
 */
import { existsSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { checkGraph } from "./graph.ts";
import { suggest } from "./nearest.ts";
import { type Condition, Service } from "./schema.ts";
import {
  entriesOf,
  type Entry,
  expand,
  type FindSource,
  listedSources,
  packagePinOf,
  type Source,
  sourceFinder,
  type SourceOptions,
} from "./sources.ts";
import { validate } from "./validate.ts";
import {
  fileName,
  graphNode,
  hasSource,
  type Project,
  type ProjectService,
  type ProjectStack,
  type StackService,
} from "./workspace.ts";
import { readYamlFile } from "./yaml-file.ts";

export interface Services {
  /** Reads no service's file where the workspace maps names to services; all of them where it lists folders. */
  names(): Promise<string[]>;
  has(name: string): Promise<boolean>;
  /** The named ones alone, in that order. Throws `not-found` for a name that is not a service. */
  find(names: readonly string[]): Promise<StackService[]>;
  /** All of them, checked: names, dependencies, and the stacks' lists. */
  all(): Promise<StackService[]>;
}

export function openServices(project: Project, options: SourceOptions): Services {
  return Array.isArray(project.workspace.services)
    ? listedServices(project)
    : mappedServices(project, options);
}

/** Those whose source is at hand, or is in git: the named ones alone, or all of the workspace, which is checked then. */
export async function loadServices(
  project: Project,
  options: SourceOptions,
  names?: readonly string[],
): Promise<ProjectService[]> {
  const services = openServices(project, options);
  if (names === undefined) return (await services.all()).filter(hasSource);
  return (await services.find(names)).map((service) => {
    if (hasSource(service)) return service;
    throw new UserError(`the workspace has the service "${service.name}" as a package alone`, {
      code: "not-found",
      at: service.pin.at,
      fix: `Give it a path or a repository, or a folder of yours: kws link ${service.name} PATH`,
    });
  });
}

function mappedServices(project: Project, options: SourceOptions): Services {
  const entries = entriesOf(project);
  const names = [...entries.keys()];
  const findSource = sourceFinder(project, options);
  const read = memoized(async (name: string) => {
    const entry = entries.get(name);
    if (entry === undefined) throw notFound(name, names);
    return readEntry(project, findSource, name, entry);
  });
  return {
    names: async () => names,
    has: async (name) => entries.has(name),
    async find(wanted) {
      const unknown = wanted.find((name) => !entries.has(name));
      if (unknown !== undefined) {
        checkStacks(project, names);
        throw notFound(unknown, names);
      }
      return Promise.all(wanted.map(read));
    },
    async all() {
      checkStacks(project, names);
      const services = await Promise.all(names.map(read));
      checkGraph(services.map(graphNode));
      return services;
    },
  };
}

/** Names are in the services' own files: a folder that is called like the service is tried first, then all are read. */
function listedServices(project: Project): Services {
  let listing: Promise<Source[]> | undefined;
  let reading: Promise<ProjectService[]> | undefined;
  const sources = () => (listing ??= listedSources(project));
  const read = memoized(async (dir: string) => {
    const source = (await sources()).find((one) => one.dir === dir);
    if (source === undefined) throw new Error(`${dir} is not listed`);
    return loadService(project, source);
  });
  const readAll = async () => {
    const dirs = new Set((await sources()).map(({ dir }) => dir));
    const services = await Promise.all(Array.from(dirs, read));
    const seen = new Map<string, ProjectService>();
    for (const service of services) {
      const other = seen.get(service.name);
      seen.set(service.name, service);
      if (other !== undefined && other.dir !== service.dir) throw sameName(other, service);
    }
    checkStacks(project, [...seen.keys()]);
    return [...seen.values()];
  };
  const everything = () => (reading ??= readAll());
  const findOne = async (name: string) => {
    for (const { dir } of (await sources()).filter((source) => basename(source.dir) === name)) {
      const service = await read(dir);
      if (service.name === name) return service;
    }
    return (await everything()).find((service) => service.name === name);
  };
  const names = async () => (await everything()).map((service) => service.name);
  return {
    names,
    has: async (name) => (await findOne(name)) !== undefined,
    find: (wanted) =>
      Promise.all(
        wanted.map(async (name) => {
          const service = await findOne(name);
          if (service === undefined) throw notFound(name, await names());
          return service;
        }),
      ),
    async all() {
      const services = await everything();
      checkGraph(services.map(graphNode));
      return services;
    },
  };
}

/** Reads all services and goes on after a fault: those that could be read, and all faults but those of the graph. */
export async function surveyServices(
  project: Project,
  options: SourceOptions,
): Promise<{ services: StackService[]; faults: UserError[] }> {
  /** In the order of the attempts, whichever ends first: every one has a place from its beginning. */
  const failed: (UserError | undefined)[] = [];
  const faults = () => failed.filter((fault) => fault !== undefined);
  const attempt = async <T>(work: () => Promise<T>): Promise<T[]> => {
    const place = failed.push(undefined) - 1;
    try {
      return [await work()];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      failed[place] = error;
      return [];
    }
  };
  const { services: listed } = project.workspace;
  const findSource = sourceFinder(project, options);
  const reading: Promise<StackService[]>[] = Array.isArray(listed)
    ? (await Promise.all(listed.map((pattern, index) => attempt(() => expand(project, pattern, index)))))
        .flat(2)
        .map((source) => attempt(() => loadService(project, source)))
    : Array.from(entriesOf(project), ([name, entry]) =>
        attempt(() => readEntry(project, findSource, name, entry)),
      );
  const services = (await Promise.all(reading)).flat();
  const folders = services.filter(hasSource);
  for (const [index, service] of folders.entries()) {
    const other = folders
      .slice(0, index)
      .find(({ name, dir }) => name === service.name && dir !== service.dir);
    if (other !== undefined) failed.push(sameName(other, service));
  }
  // One that cannot be read is not missing.
  if (faults().length === 0) {
    const names = new Set(services.map(({ name }) => name));
    for (const stack of project.stacks) await attempt(async () => checkStack(project, stack, names));
  }
  return { services, faults: faults() };
}

async function readEntry(
  project: Project,
  findSource: FindSource,
  name: string,
  entry: Entry,
): Promise<StackService> {
  const source = await findSource(name, entry);
  return source === undefined ? packagedService(project, name, entry) : loadService(project, source);
}

function sameName(one: ProjectService, other: ProjectService): UserError {
  return new UserError(`two services are called "${one.name}": ${one.dir} and ${other.dir}`, {
    code: "config",
    at: other.file.at(["name"]),
    fix: "Rename one of them.",
  });
}

function memoized<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (key) => {
    const reading = known.get(key) ?? read(key);
    known.set(key, reading);
    return reading;
  };
}

function notFound(name: string, known: string[]): UserError {
  return new UserError(`the workspace has no service "${name}"`, {
    code: "not-found",
    fix: suggest(name, known, "Add it under services."),
  });
}

function packagedService(project: Project, name: string, entry: Entry): StackService {
  const { tags = [] } = entry;
  const dependsOn = "dependsOn" in entry ? entry.dependsOn : [];
  return {
    name,
    file: project.file,
    keys: ["services", name],
    ...dependencies(dependsOn),
    tags,
    pin: packagePinOf(project, name, entry),
    packaged: true,
  };
}

function dependencies(written: (string | Condition)[] = []): Pick<StackService, "dependsOn" | "conditions"> {
  return {
    dependsOn: written.filter((one) => typeof one === "string"),
    conditions: written.filter((one) => typeof one !== "string"),
  };
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
    ...(source.origin === undefined ? {} : { origin: source.origin }),
  };
}

function checkStacks(project: Project, known: string[]): void {
  const names = new Set(known);
  for (const stack of project.stacks) checkStack(project, stack, names);
}

function checkStack(project: Project, stack: ProjectStack, names: Set<string>): void {
  for (const [index, name] of (stack.services ?? []).entries()) {
    if (names.has(name)) continue;
    throw new UserError(`the stack ${stack.name} has "${name}", which is not a service of the workspace`, {
      code: "config",
      at: project.file.at(["stacks", stack.name, "services", index]),
      fix: suggest(name, [...names], "Add it under services."),
    });
  }
}
