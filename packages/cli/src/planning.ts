/** What a start will do, from the workspace and its packages: the part of starting that changes nothing. */
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { checkRenders } from "@kws/platform/charts/render";
import { placeholderValues } from "@kws/platform/images/build";
import { fetchPackage } from "@kws/platform/packages/fetch";
import { openPackage } from "@kws/platform/packages/prepare";
import { openServices } from "@kws/platform/project/services";
import { describeClone } from "@kws/platform/project/clone";
import { siblingClones } from "@kws/platform/project/clones";
import { clonesOf } from "@kws/platform/project/sources";
import type { Project, ProjectService, ProjectStack, StackService } from "@kws/platform/project/workspace";
import type { Provider } from "@kws/platform/providers/provider";
import { secretOpener } from "@kws/platform/secrets/open";
import { listReleases } from "@kws/platform/services/releases";
import { type Packages, planStack, type Selection, type ServicePlan } from "@kws/platform/stacks/plan";
import type { Context } from "./context.ts";
import { gitSettings, shortFolder } from "./repositories.ts";
import { defaultTimeoutMs, fetchedWithin } from "./waiting.ts";

/** Of the commands that start services. */
export const startOptions = {
  timeout: {
    type: "duration",
    value: "duration",
    description: "for one package to arrive, and one service to become ready; 5m unless given",
  },
  profile: {
    type: "string",
    short: "p",
    value: "name",
    description: "the charts' profile, instead of the stack's own",
    completes: "profiles",
  },
  "dry-run": { type: "boolean", description: "check everything and tell what would be done" },
  pull: {
    type: "boolean",
    description:
      "fetch services that live in git again, and base images that have changed in their registries",
  },
} as const;

/** Of the commands that start some services, and may use others from another cluster. */
export const remoteOptions = {
  remote: {
    type: "list",
    value: "services",
    description: "use these too from the other cluster of the stack's `remote`; may be repeated",
    completes: "services",
  },
  local: {
    type: "list",
    value: "services",
    description: "start these here, though `remote` says otherwise; may be repeated",
    completes: "services",
  },
} as const;

/** Of an option that may be repeated, and each time hold several, separated by commas. */
export function listed(given: string[] = []): string[] {
  return given.flatMap((one) => one.split(",")).filter((one) => one !== "");
}

export interface PlanRequest {
  project: Project;
  stack: ProjectStack;
  /** All of the stack unless given. */
  selection?: Selection;
  /** Packages also of services whose source is at hand, and of the chosen one in this version. */
  production?: { version?: string | undefined };
  provider: Provider;
  /** For one service to become ready, and for one package to arrive. */
  timeoutMs?: number;
  /** Services that another cluster has. */
  remote?: string[];
  /** Fetch again what comes from elsewhere: services from git, base images from registries. */
  refresh?: boolean;
}

/** What the start will do; packages are unpacked in the folder. */
export async function plan(
  ctx: Context,
  request: PlanRequest,
  { steps, folder }: { steps: Steps; folder: string },
): Promise<ServicePlan[]> {
  const { project, stack, provider, selection, production, refresh, remote = [] } = request;
  const { signal, locations, childEnv } = ctx;
  const services = openServices(project, {
    cache: locations.cache,
    env: childEnv,
    signal,
    refresh: refresh === true,
    clones: production === undefined ? "make" : "ignore",
    onClone: (url, clone) =>
      steps.run({ id: `clone ${url}`, title: `clone ${url}` }, async (step) => {
        const [unused] = clonesOf(await siblingClones(project.root), project, url);
        if (unused !== undefined) step.note(`${shortFolder(ctx, unused.dir)} is not used; see \`kws link\``);
        return clone();
      }),
  });
  const plans = await planStack(services, {
    project,
    stack,
    provider,
    decrypt: secretOpener(ctx, signal),
    packages: packagesOf(ctx, request, { steps, folder }),
    selection: { ...selection, skip: [...(selection?.skip ?? []), ...remote] },
    signal,
  });
  const builds = plans.flatMap((one) => (one.how === "build" ? [one.service] : []));
  await Promise.all(builds.map((service) => tellClone(ctx, service, steps)));
  return plans;
}

/** What is not as kws.yaml pins it is said: which clone it is taken from, and how far that is from the pin. */
async function tellClone(ctx: Context, { name, dir, origin }: ProjectService, steps: Steps): Promise<void> {
  if (origin === undefined || origin.how === "pin") return;
  const title = `${name} from ${shortFolder(ctx, dir)}`;
  await steps.run({ id: `clone ${name}`, title }, async (step) => {
    step.skip(await describeClone(dir, origin.pin?.ref, gitSettings(ctx)));
  });
}

function packagesOf(
  ctx: Context,
  { project, stack, selection, production, timeoutMs = defaultTimeoutMs }: PlanRequest,
  { steps, folder }: { steps: Steps; folder: string },
): Packages {
  const { signal, childEnv } = ctx;
  const open = async () => {
    const [{ packageSource }, { foreignCharts }] = await Promise.all([
      import("./deploying.ts"),
      import("@kws/platform/packages/foreign"),
    ]);
    return { source: await packageSource(ctx, project, undefined), foreign: foreignCharts(childEnv) };
  };
  let opened: ReturnType<typeof open> | undefined;
  const fetch = async ({ name, pin }: StackService) => {
    const { source, foreign } = await (opened ??= open());
    const chosen = selection?.only?.includes(name) === true ? production?.version : undefined;
    const version = chosen ?? pin.version;
    try {
      const found = await fetchedWithin(
        (within) =>
          pin.chart === undefined
            ? fetchPackage(source, { service: name, version }, { signal: within })
            : foreign({ service: name, address: pin.chart, version }, { signal: within }),
        { service: name, ms: timeoutMs, signal },
      );
      return { found, source };
    } catch (error) {
      if (!(error instanceof UserError) || error.at !== undefined || chosen !== undefined) throw error;
      const { message, code, fix, cause } = error;
      throw new UserError(message, { code, cause, at: pin.at, ...(fix === undefined ? {} : { fix }) });
    }
  };
  return {
    every: production !== undefined,
    prepare: (service) =>
      steps.run({ id: `fetch ${service.name}`, title: `package ${service.name}` }, async (step) => {
        const { found, source } = await fetch(service);
        step.note(`${found.version} ${found.digest.slice(0, 19)}`);
        const decrypt = secretOpener(ctx, signal);
        const prepared = await openPackage(found, { folder, decrypt, profile: stack.profile, settings: [] });
        return { prepared, source };
      }),
  };
}

/** The services that the stack has installed, to leave them as they are; none where the cluster does not run. */
export async function installedServices(
  ctx: Context,
  stack: ProjectStack,
  provider: Provider,
): Promise<string[]> {
  if ((await provider.status()).state !== "running") return [];
  const { client } = await ctx.connect(provider);
  const releases = await listReleases(client, { stack: stack.name, signal: ctx.signal });
  return releases
    .filter(({ namespace, status }) => namespace === stack.namespace && status === "deployed")
    .map(({ service }) => service);
}

/** Whether Helm can render what is to be installed; answers the memory that it will ask for, in bytes, by service. */
export async function checkCharts(
  ctx: Context,
  helm: string,
  stack: ProjectStack,
  plans: ServicePlan[],
): Promise<Map<string, number>> {
  const { namespace } = stack;
  const options = { helm, namespace, cache: ctx.locations.cache, env: ctx.childEnv, signal: ctx.signal };
  const memory = new Map<string, number>();
  await Promise.all(
    plans.map(async (plan) => {
      if (plan.how === "await") return;
      const { name } = plan.service;
      const images = plan.how === "build" ? placeholderValues(plan.service) : {};
      memory.set(name, await checkRenders(plan.chart, { ...options, release: name, images }));
    }),
  );
  return memory;
}
