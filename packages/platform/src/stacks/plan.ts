/**
 * What a start will do, found out and checked before anything is changed: which services, each from its source or from its
 * package, with which chart and values.
 */
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { type Chart, loadChart } from "../charts/chart.ts";
import type { Decrypt } from "../charts/layers.ts";
import { checkBuilds } from "../images/build.ts";
import { fetchesAtATime, type PackageSource } from "../packages/fetch.ts";
import type { Prepared } from "../packages/prepare.ts";
import { checkGraph } from "../project/graph.ts";
import { suggest } from "../project/nearest.ts";
import type { Services } from "../project/services.ts";
import {
  defaultProfile,
  graphNode,
  hasSource,
  type Project,
  type ProjectService,
  type ProjectStack,
  type StackService,
} from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";

/** A service that was looked at and can be started. */
export type ServicePlan = BuildPlan | PackagePlan | AwaitPlan;

/** From its source. */
export interface BuildPlan {
  how: "build";
  service: ProjectService;
  chart: Chart;
}

/** From its package, as it runs in production. */
export interface PackagePlan {
  how: "package";
  service: StackService;
  chart: Chart;
  prepared: Prepared;
  /** Has its images, where no registry has them. */
  source: PackageSource;
}

/** It is installed already, and left as it is. */
export interface AwaitPlan {
  how: "await";
  service: StackService;
}

/** Which services of a stack are meant; all of them where nothing is said. */
export interface Selection {
  /** These, with what they depend on. */
  only?: string[];
  /** Those that have one of these tags, with what they depend on. */
  tags?: string[];
  /** Not these, though others depend on them. */
  skip?: string[];
  /** Not what the chosen ones depend on. */
  noDependencies?: boolean;
  /** Installed already: left as they are unless they are chosen themselves. */
  running?: string[];
}

/** True where it means all of the stack. */
export function isWhole({ only = [], tags = [], skip = [] }: Selection): boolean {
  return only.length + tags.length + skip.length === 0;
}

/** How packages are had. */
export interface Packages {
  /** Of all services, those with a source too. */
  every: boolean;
  prepare(service: StackService): Promise<{ prepared: Prepared; source: PackageSource }>;
}

export interface PlanOptions {
  project: Project;
  stack: ProjectStack;
  provider: Provider;
  decrypt: Decrypt;
  packages: Packages;
  selection?: Selection;
  signal: AbortSignal;
}

/** Reads and checks all that a start will need; throws before anything is changed. */
export async function planStack(services: Services, options: PlanOptions): Promise<ServicePlan[]> {
  const { stack, signal, selection = {} } = options;
  const roots = await rootsOf(services, stack, selection);
  const failed = new AbortController();
  const checks = { ...options, signal: AbortSignal.any([signal, failed.signal]) };
  const limit = limiter(fetchesAtATime);
  const plans = new Map<string, ServicePlan>();
  const asked = new Set(selection.skip);
  const existing: string[] = [];
  // What a service depends on is known when its own file, or its package, has been read: nothing else of the workspace is.
  for (let names = roots; names.length > 0;) {
    const fresh = [...new Set(names)].filter((name) => !asked.has(name));
    for (const name of fresh) asked.add(name);
    const made = await Promise.all(
      (await services.find(fresh)).map(async (service): Promise<ServicePlan> => {
        const running = selection.running?.includes(service.name) === true;
        if (running && !roots.includes(service.name)) return { how: "await", service };
        return planService(service, checks, limit);
      }),
    ).catch((error: unknown) => {
      // Nobody waits for what registries would say of the others.
      failed.abort(error);
      throw error;
    });
    for (const plan of made) plans.set(plan.service.name, plan);
    const mentioned = made.flatMap(({ service }) => service.dependsOn);
    const known = await Promise.all(mentioned.map((name) => services.has(name)));
    // The graph's check says which name is meant instead.
    if (known.includes(false))
      checkGraph(
        made.map(({ service }) => graphNode(service)),
        await services.names(),
      );
    existing.push(...mentioned);
    names = made.flatMap((plan) =>
      plan.how === "await" || selection.noDependencies === true ? [] : plan.service.dependsOn,
    );
  }
  const planned = [...plans.values()];
  checkGraph(
    planned.map(({ service }) => graphNode(service)),
    existing,
  );
  checkProfile(stack, planned);
  return planned;
}

/** Those that were named or tagged; all of the stack's where none was. */
async function rootsOf(services: Services, stack: ProjectStack, selection: Selection): Promise<string[]> {
  const { only = [], tags = [], skip = [] } = selection;
  for (const name of [...only, ...skip]) {
    if (stack.services?.includes(name) ?? (await services.has(name))) continue;
    throw new UserError(`the stack ${stack.name} has no service "${name}"`, {
      code: "not-found",
      fix: suggest(name, stack.services ?? (await services.names()), "Add it to the stack's services."),
    });
  }
  const both = only.find((name) => skip.includes(name));
  if (both !== undefined) {
    throw new UserError(`"${both}" is asked for, and to be skipped too`, {
      code: "usage",
      fix: "Leave out one of them.",
    });
  }
  if (tags.length === 0 && only.length > 0) return only;
  const names = stack.services ?? (await services.names());
  if (tags.length === 0) return names;
  const known = await services.find(names);
  const stray = tags.find((tag) => !known.some((service) => service.tags.includes(tag)));
  if (stray !== undefined) {
    throw new UserError(`no service of the stack ${stack.name} has the tag "${stray}"`, {
      code: "not-found",
      fix: suggest(stray, [...new Set(known.flatMap((service) => service.tags))], "Give it one with `tags`."),
    });
  }
  const tagged = known.filter((service) => service.tags.some((tag) => tags.includes(tag)));
  if (only.length === 0 && tagged.every(({ name }) => skip.includes(name))) {
    throw new UserError(`all services with the tag ${tags.join(" or ")} are skipped`, {
      code: "usage",
      fix: "Leave some out of --skip.",
    });
  }
  return [...only, ...tagged.map(({ name }) => name)];
}

async function planService(
  service: StackService,
  options: PlanOptions,
  limit: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<ServicePlan> {
  const { packages, project, provider, stack, decrypt, signal } = options;
  if (hasSource(service) && !packages.every) {
    const chart = await loadChart(service, stack.profile, decrypt);
    await checkBuilds(service, provider, project.name, signal);
    return { how: "build", service, chart };
  }
  const { prepared, source } = await limit(() => packages.prepare(service));
  const dependsOn = [...new Set([...service.dependsOn, ...prepared.found.dependsOn])];
  return {
    how: "package",
    service: { ...service, dependsOn },
    chart: prepared.chart,
    prepared,
    source,
  };
}

function checkProfile({ name, profile }: ProjectStack, plans: ServicePlan[]): void {
  const charts = plans.flatMap((plan) => (plan.how === "await" ? [] : [plan.chart]));
  if (profile === defaultProfile || charts.length === 0 || charts.some(({ hasProfile }) => hasProfile))
    return;
  throw new UserError(`no chart of the stack ${name} has the profile "${profile}"`, {
    code: "config",
    fix: `Add profiles/${profile}/values.yaml to a chart, or name another profile.`,
  });
}
