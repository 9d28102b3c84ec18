/** What is analysed: this machine, and the workspace and the cluster that a command would work on, each opened when first asked for. */
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Locations } from "../project/locations.ts";
import { suggest } from "../project/nearest.ts";
import { Service, Workspace } from "../project/schema.ts";
import type { ProviderName } from "../project/provider-names.ts";
import { faultsIn } from "../project/validate.ts";
import {
  hasSource,
  isWorkspace,
  loadProject,
  type Project,
  type ProjectService,
  type StackService,
} from "../project/workspace.ts";
import { surveyServices } from "../project/services.ts";
import { readYamlFile } from "../project/yaml-file.ts";
import type { Connection, Provider, ProviderStatus } from "../providers/provider.ts";
import { locateTool } from "../tools/locate.ts";
import { faultOf } from "./finding.ts";
import { renderService, type RenderedService } from "./rendered.ts";

export interface SubjectOptions {
  env: NodeJS.ProcessEnv;
  home: string;
  cwd: string;
  locations: Locations;
  /** Of the nearest kws.yaml; undefined where there is none. */
  file: string | undefined;
  /** Only these services. */
  chosen: readonly string[];
  clock: () => number;
  signal: AbortSignal;
  /** The kernel's own files; `/proc` but in tests. */
  proc?: string;
  platform?: NodeJS.Platform;
  provider(): Promise<Provider>;
  connect(provider: Provider): Promise<Connection>;
}

export interface WorkspaceSurvey {
  /** Undefined where its file is at fault. */
  project: Project | undefined;
  /** All that could be read. */
  services: StackService[];
  faults: UserError[];
}

/** Disposing it ends what checks that were late left running. */
export interface Subject extends Disposable, Omit<SubjectOptions, "connect" | "proc" | "platform"> {
  proc: string;
  platform: NodeJS.Platform;
  survey(): Promise<WorkspaceSurvey>;
  project(): Promise<Project | undefined>;
  /** The chosen services whose source is at hand. */
  services(): Promise<ProjectService[]>;
  /** Throws where the provider cannot be chosen or asked; the check of the API server tells why. */
  status(): Promise<ProviderStatus>;
  /** Undefined where the cluster does not run or is not reached. */
  connection(): Promise<Connection | undefined>;
  /** False too where the provider cannot be chosen. */
  isOn(names: readonly ProviderName[]): Promise<boolean>;
  helm(): Promise<string>;
  /** None without Helm. The chosen services' charts as Helm renders them, for each of the workspace's stacks that has the service. */
  rendered(): Promise<RenderedService[]>;
}

/** Charts that Helm renders at once: each takes a core. */
const rendersAtOnce = 4;

export function openSubject(options: SubjectOptions): Subject {
  const { env, locations, file } = options;
  const closed = new AbortController();
  const signal = AbortSignal.any([options.signal, closed.signal]);
  const survey = once(() => surveyWorkspace(file, { cache: locations.cache, env, signal }));
  const project = async () => (await survey()).project;
  const provider = once(() => options.provider());
  const status = once(async () => (await provider()).status());
  const helm = once(async () => (await locateTool("helm", { env, cache: locations.cache, signal })).path);
  const services = once(async () => {
    const { services } = await survey();
    const { chosen } = options;
    const unknown = chosen.find((name) => !services.some((one) => one.name === name));
    if (unknown !== undefined) {
      const known = services.map(({ name }) => name);
      throw new UserError(`the workspace has no service "${unknown}" that could be read`, {
        code: "not-found",
        fix: suggest(unknown, known, "See the workspace's faults with `kws analyze --only schema`."),
      });
    }
    return services.filter(hasSource).filter(({ name }) => chosen.length === 0 || chosen.includes(name));
  });
  return {
    ...options,
    signal,
    [Symbol.dispose]: () => closed.abort(),
    proc: options.proc ?? "/proc",
    platform: options.platform ?? process.platform,
    provider,
    survey,
    project,
    services,
    status,
    helm,
    connection: once(async () => {
      const found = await status().catch(faultOf);
      if (found instanceof UserError || found.state !== "running") return undefined;
      const opened = await options.connect(await provider()).catch(faultOf);
      return opened instanceof UserError ? undefined : opened;
    }),
    async isOn(names) {
      const found = await provider().catch(faultOf);
      return !(found instanceof UserError) && names.includes(found.name);
    },
    rendered: once(async () => {
      const found = await project();
      if (found === undefined) return [];
      const program = await helm().catch(faultOf);
      if (program instanceof UserError) return [];
      const inTurn = limiter(rendersAtOnce);
      const wanted = (await services()).flatMap((service) =>
        found.stacks
          .filter(({ services }) => services === undefined || services.includes(service.name))
          .map((stack) => ({ service, stack })),
      );
      const rendered = await Promise.all(
        wanted.map(({ service, stack }) =>
          inTurn(() => renderService(service, stack, { helm: program, env, signal })),
        ),
      );
      return rendered.filter((one) => one !== undefined);
    }),
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

async function surveyWorkspace(
  path: string | undefined,
  options: { cache: string; env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<WorkspaceSurvey> {
  if (path === undefined) return { project: undefined, services: [], faults: [] };
  try {
    const project = await loadProject(path);
    const { services, faults } = await surveyServices(project, { ...options, clones: "ignore" });
    return { project, services, faults: (await Promise.all(faults.map(allLike))).flat() };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { project: undefined, services: [], faults: await allLike(error) };
  }
}

/** All faults of the file, where the one that loading ended with is one of its schema's. */
async function allLike(fault: UserError): Promise<UserError[]> {
  const path = fault.at?.replace(/:\d+:\d+$/, "") ?? "";
  if (!/\.ya?ml$/.test(path)) return [fault];
  try {
    const file = await readYamlFile(path);
    const all = faultsIn(file, isWorkspace(file) ? Workspace : Service, "the file");
    return all.some(({ message }) => message === fault.message) ? all : [fault];
  } catch (error) {
    if (error instanceof UserError) return [fault];
    throw error;
  }
}
