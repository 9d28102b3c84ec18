/** What the commands of pipelines have in common: whose they are, and what a run of this machine is made of. */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { exitCodes, messageOf, UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { openSubject } from "@kws/platform/analysis/subject";
import { openPackageStore } from "@kws/platform/packages/store";
import { blobFolder, pruneBlobs } from "@kws/platform/pipeline/blobs";
import { openBuiltins } from "@kws/platform/pipeline/builtins";
import type { JobResult } from "@kws/platform/pipeline/job";
import { openLog } from "@kws/platform/pipeline/logs/store";
import { masked } from "@kws/platform/pipeline/masks";
import { sweepRuns } from "@kws/platform/pipeline/place";
import { type Plan, planPipeline } from "@kws/platform/pipeline/plan";
import { forgetful, runPipeline, type RunResult } from "@kws/platform/pipeline/run";
import { openRuns } from "@kws/platform/pipeline/runs";
import { openSecrets } from "@kws/platform/pipeline/secrets";
import { sourcesOf } from "@kws/platform/pipeline/source";
import { readTrigger } from "@kws/platform/pipeline/trigger";
import type { Trigger } from "@kws/platform/pipeline/when";
import { events } from "@kws/platform/project/pipeline-schema";
import { openServices } from "@kws/platform/project/services";
import { suggest } from "@kws/platform/project/nearest";
import {
  hasSource,
  type Project,
  type ProjectService,
  type StackService,
} from "@kws/platform/project/workspace";
import { defaultClusterName, embeddedProvider } from "@kws/platform/providers/embedded";
import { secretOpener } from "@kws/platform/secrets/open";
import { locateTool } from "@kws/platform/tools/locate";
import type { OptionValues } from "./command.ts";
import type { Context } from "./context.ts";
import { registryOf } from "./packaging.ts";
import { prepareTool, startCluster } from "./starting.ts";
import { defaultTimeoutMs } from "./waiting.ts";

export const servicesArgument = {
  name: "services",
  description: "only these; all of the workspace that have their source here unless given",
  variadic: true,
  completes: "services",
} as const;

/** What a run is taken for. */
export const triggerOptions = {
  branch: {
    type: "string",
    value: "name",
    description: "the branch, instead of the one that is checked out",
  },
  tag: { type: "string", value: "name", description: "the tag, instead of the one of the commit" },
  event: {
    type: "string",
    value: "event",
    choices: events,
    description: "what began it; manual unless given",
  },
  since: {
    type: "string",
    value: "ref",
    description:
      "only what has changed since this commit, branch or tag; without services named, only those with a change",
  },
} as const;

export interface Planned {
  service: ProjectService;
  plan: Plan;
  trigger: Trigger;
  commit?: string;
}

export interface PlannedAll {
  project: Project;
  /** All of the workspace. */
  services: StackService[];
  planned: Planned[];
}

/** The plans of the services that are named, or of all; every pipeline that is at fault is told before anything is done. */
export async function planAll(
  ctx: Context,
  names: string[],
  options: OptionValues<typeof triggerOptions>,
): Promise<PlannedAll> {
  const { locations, childEnv: env, signal } = ctx;
  const project = await ctx.project();
  const services = await openServices(project, { cache: locations.cache, env, signal, history: true }).all();
  const planned: Planned[] = [];
  for (const service of chosen(services, names)) {
    const event = events.find((one) => one === options.event);
    const { branch, tag, since } = options;
    const found = await readTrigger(service, {
      env,
      signal,
      ...(event === undefined ? {} : { event }),
      ...(branch === undefined ? {} : { branch }),
      ...(tag === undefined ? {} : { tag }),
      ...(since === undefined ? {} : { since }),
    });
    if (names.length === 0 && found.trigger.changed?.length === 0) continue;
    planned.push({ service, ...found, plan: planPipeline(service, found.trigger) });
  }
  return { project, services, planned };
}

function chosen(services: StackService[], names: string[]): ProjectService[] {
  if (names.length === 0) return services.filter(hasSource);
  return names.map((name) => {
    const found = services.find((one) => one.name === name);
    if (found !== undefined && hasSource(found)) return found;
    const known = services.filter(hasSource).map((one) => one.name);
    throw new UserError(
      found === undefined ? `there is no service "${name}"` : `${name} is there as a package alone`,
      { code: "not-found", fix: suggest(name, known, "See `kws service list`.") },
    );
  });
}

export interface RunSettings {
  publish: boolean;
  keepOnFailure: boolean;
  parallel: number;
  /** Runs at once. */
  parallelServices: number;
  registry: string | undefined;
}

/** Runs the plans on the provider's cluster. What ends one before its time, such as Ctrl-C, ends all. */
export async function runHere(
  ctx: Context,
  { project, services, planned }: PlannedAll,
  settings: RunSettings,
): Promise<RunResult[]> {
  const { locations, childEnv, clock, holder, now, log } = ctx;
  const stopped = new AbortController();
  const signal = AbortSignal.any([ctx.signal, stopped.signal]);
  const { cache } = locations;
  const steps = ctx.steps();
  const decrypt = secretOpener(ctx, signal);
  const secrets: Record<string, string>[] = [];
  for (const { plan, service } of planned) secrets.push(await openSecrets(plan, service, { decrypt }));
  const helm = await prepareTool(ctx, steps);
  const kubectl = await locateTool("kubectl", { env: childEnv, cache, signal });
  const provider = await ctx.provider();
  await startCluster(ctx, provider, steps);
  const connection = await ctx.connect(provider);
  await sweepRuns({ client: connection.client, holder, clock, signal });
  const runs = openRuns(locations.data);
  const caches = join(cache, "pipeline");
  await Promise.all([runs.prune(clock()), pruneBlobs(caches, clock())]);
  const registry = await registryOf(ctx, settings.registry);
  const store = await openPackageStore(locations.data);
  // One question at a time.
  const oneAsks = limiter(1);
  const runOne = async ({ service, plan, trigger, commit }: Planned, values: Record<string, string>) => {
    signal.throwIfAborted();
    const id = `${service.name.slice(0, 30)}-${randomBytes(4).toString("hex")}`;
    const own = planned.length === 1 ? steps : steps.scoped(service.name);
    const shared = { helm, kubectl: kubectl.path, childEnv, cache, log, steps: own, now, clock, holder };
    const builtins = openBuiltins({
      ...shared,
      plan,
      project,
      service,
      services,
      provider,
      // Wherever the workspace's cluster is: packages are made on this machine.
      builder: embeddedProvider({ name: defaultClusterName, home: locations.data, env: childEnv }),
      store,
      ...(registry === undefined ? {} : { registry }),
      push: settings.publish,
      subject: (until) =>
        openSubject({
          ...ctx,
          env: childEnv,
          file: project.file.path,
          chosen: [service.name],
          signal: until,
          provider: () => Promise.resolve(provider),
          connect: () => Promise.resolve(connection),
        }),
      startMs: defaultTimeoutMs,
    });
    const source = join(runs.folder(id), "source.tar");
    const ended: JobResult[] = [];
    const began = clock();
    // For `kws pipeline logs --follow` in another terminal.
    await own.run({ id: "run", title: `run ${id}` }, () => runs.begin(id, holder));
    const running = runPipeline({
      ...shared,
      id,
      plan,
      trigger,
      service,
      ...(commit === undefined ? {} : { commit }),
      connection,
      builtins,
      journal: forgetful,
      openLog: (job) => openLog(runs.logFolder(id, job.id), { clock, anew: true }),
      approve: (job) => oneAsks(() => approve(ctx, service, job.title)),
      onResult: (result) => void ended.push(result),
      secrets: values,
      sources: sourcesOf(service, source, { env: childEnv, signal }),
      artifacts: blobFolder(join(runs.folder(id), "artifacts")),
      caches: blobFolder(caches),
      startMs: defaultTimeoutMs,
      parallel: settings.parallel,
      keepOnFailure: settings.keepOnFailure,
      signal,
    });
    try {
      const result = await running;
      await runs.save(result);
      return result;
    } catch (error) {
      await runs.save({
        run: id,
        service: service.name,
        outcome: signal.aborted ? "cancelled" : "failed",
        why: masked(Object.values(values), messageOf(error)),
        trigger,
        startedAt: new Date(began).toISOString(),
        durationMs: clock() - began,
        jobs: ended,
      });
      throw error;
    } finally {
      await rm(source, { force: true });
    }
  };
  const inTurn = limiter(settings.parallelServices);
  const running = planned.map((one, index) =>
    inTurn(() => runOne(one, secrets[index] ?? {})).catch((error: unknown) => {
      stopped.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(running);
  return Promise.all(running);
}

async function approve(ctx: Context, { name }: ProjectService, step: string): Promise<void> {
  if (await ctx.confirm(`Run the step ${step} of ${name}?`)) return;
  throw new UserError(`${step} was not approved`);
}

export function exitCodeOf(results: RunResult[]): number {
  return results.some(({ outcome }) => outcome === "failed") ? exitCodes.failed : exitCodes.ok;
}
