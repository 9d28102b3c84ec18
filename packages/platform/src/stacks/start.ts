/**
 * Starting a stack: images are built in parallel, each service's chart is installed as soon as what it depends on is
 * ready, and what has not changed is left alone. Everything is checked before anything is changed.
 */
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import { type Chart, loadChart } from "../charts/chart.ts";
import { type Decrypt, mergeValues } from "../charts/layers.ts";
import { buildImages, checkBuilds } from "../images/build.ts";
import { closure } from "../project/graph.ts";
import { suggest } from "../project/nearest.ts";
import {
  defaultProfile,
  graphNode,
  type Project,
  type ProjectService,
  type ProjectStack,
} from "../project/workspace.ts";
import type { Connection, Provider } from "../providers/provider.ts";
import {
  fingerprintLabel,
  profileLabel,
  serviceLabel,
  stackLabel,
  versionLabel,
  workloadsLabel,
  workspaceLabel,
} from "../services/labels.ts";
import { listReleases, type Release } from "../services/releases.ts";
import { workloadsOf } from "../services/workloads.ts";
import { dropUnfinished, fingerprintOf, install, ready } from "./install.ts";
import type { Holder } from "../services/lease.ts";
import { lockStack } from "./lock.ts";
import { ensureNamespace, refuseForeign } from "./namespace.ts";
import { recordStack } from "./record.ts";
import { NamespaceView } from "./view.ts";

export interface StartStackOptions {
  project: Project;
  stack: ProjectStack;
  /** From `planStack`. */
  plans: ServicePlan[];
  /** The plans are for all of the stack's services. */
  whole: boolean;
  provider: Provider;
  connection: Connection;
  /** The path of the program. */
  helm: string;
  cache: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  steps: Steps;
  signal: AbortSignal;
  /** For one service to become ready. */
  timeoutMs: number;
  /** Look for newer base images in their registries. */
  pull?: boolean;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Who runs this, for the lock. */
  holder: Holder;
}

export interface StartedService {
  service: string;
  stack: string;
  namespace: string;
  /** Installed or upgraded; false where it already was as wanted. */
  changed: boolean;
}

/** A service that was looked at and can be started. */
export interface ServicePlan {
  service: ProjectService;
  chart: Chart;
}

/** Builds at once; more of them only take each other's processor. */
const parallelBuilds = 2;

export async function startStack(given: StartStackOptions): Promise<StartedService[]> {
  const { stack, connection } = given;
  await ensureNamespace(given);
  await using lock = await lockStack({
    ...given,
    client: connection.client,
    stack: stack.name,
    namespace: stack.namespace,
  });
  const started = await startAll({ ...given, signal: AbortSignal.any([given.signal, lock.signal]) });
  lock.signal.throwIfAborted();
  return started;
}

async function startAll(options: StartStackOptions): Promise<StartedService[]> {
  const { stack, connection, project, plans } = options;
  const all = await listReleases(connection.client, { stack: stack.name, signal: options.signal });
  const before = all.filter((release) => release.namespace === stack.namespace);
  await refuseForeign(
    options,
    plans.map(({ service }) => service.name),
  );
  await recordStack(connection.client, {
    stack: stack.name,
    namespace: stack.namespace,
    workspace: project.name,
    services: plans.map(({ service }) => service.name),
    whole: options.whole,
    signal: options.signal,
  });
  await dropUnfinished(connection.client, before);
  await using view = new NamespaceView(connection.client, stack.namespace);
  await view.open();

  const failed = new AbortController();
  const fail = (reason: unknown) => failed.abort(reason);
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const limit = limiter(parallelBuilds);
  const running = new Map<string, Promise<StartedService>>();
  for (const one of inOrder(plans)) {
    const dependencies = one.service.dependsOn
      .map((name) => running.get(name))
      .filter((promise) => promise !== undefined);
    const release = before.find((candidate) => candidate.service === one.service.name);
    const work = startService({ ...options, signal }, one, {
      release,
      dependencies,
      limit,
      view,
      interrupt: options.signal,
      fail,
    });
    work.catch(fail);
    running.set(one.service.name, work);
  }
  const results = await Promise.allSettled(running.values());
  if (options.signal.aborted)
    throw options.signal.reason instanceof UserError ? options.signal.reason : interrupted(stack.name);
  if (failed.signal.aborted) throw failed.signal.reason;
  const started = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  if (started.length !== plans.length) throw new Error(`not all of ${project.name} was started`);
  return started;
}

function interrupted(stack: string): UserError {
  return new UserError("interrupted: what was begun is left as it is", {
    code: "interrupted",
    fix: `Run \`kws stack start ${stack}\` to go on where it stopped, or \`kws stack remove ${stack}\` to undo it.`,
  });
}

/**
 * Reads and checks all that a start will need; throws before anything is changed. `only` names some of the stack's services;
 * what they depend on comes with them.
 */
export async function planStack(
  { project, stack, provider, signal }: Pick<StartStackOptions, "project" | "stack" | "provider" | "signal">,
  services: ProjectService[],
  decrypt: Decrypt,
  only: string[] = [],
): Promise<ServicePlan[]> {
  const names = stack.services ?? services.map((service) => service.name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new UserError(`the stack ${stack.name} has no service "${unknown}"`, {
      code: "not-found",
      fix: suggest(unknown, names, "Add it to the stack's services."),
    });
  }
  const chosen = new Set(closure(services.map(graphNode), only.length > 0 ? only : names));
  const failed = new AbortController();
  const checks = AbortSignal.any([signal, failed.signal]);
  const plans = await Promise.all(
    services
      .filter((service) => chosen.has(service.name))
      .map(async (service) => {
        const chart = await loadChart(service, stack.profile, decrypt);
        await checkBuilds(service, provider, project.name, checks);
        return { service, chart };
      }),
  ).catch((error: unknown) => {
    // Nobody waits for what registries would say of the others.
    failed.abort(error);
    throw error;
  });
  if (stack.profile !== defaultProfile && plans.length > 0 && !plans.some(({ chart }) => chart.hasProfile)) {
    throw new UserError(`no chart of the stack ${stack.name} has the profile "${stack.profile}"`, {
      code: "config",
      fix: `Add profiles/${stack.profile}/values.yaml to a chart, or name another profile.`,
    });
  }
  return plans;
}

function inOrder(plans: ServicePlan[]): ServicePlan[] {
  const placed = new Set<string>();
  const ordered: ServicePlan[] = [];
  let rest = plans;
  while (rest.length > 0) {
    const ready = rest.filter((one) => one.service.dependsOn.every((name) => placed.has(name)));
    if (ready.length === 0) throw new Error("the dependencies were not checked");
    for (const one of ready) placed.add(one.service.name);
    ordered.push(...ready);
    rest = rest.filter((one) => !placed.has(one.service.name));
  }
  return ordered;
}

interface StartContext {
  release: Release | undefined;
  dependencies: Promise<StartedService>[];
  limit: <T>(work: () => Promise<T>) => Promise<T>;
  view: NamespaceView;
  /** Aborts on Ctrl-C alone. */
  interrupt: AbortSignal;
  /** Called in the moment in which a step fails: none begins after it. */
  fail: (reason: unknown) => void;
}

async function startService(
  options: StartStackOptions,
  one: ServicePlan,
  context: StartContext,
): Promise<StartedService> {
  const { service, chart } = one;
  const { stack, steps, signal } = options;
  const { name } = service;
  const run: Steps["run"] = (step, work) =>
    steps.run(step, async (handle) => {
      try {
        return await work(handle);
      } catch (error) {
        // An install is not given up: where it ends badly after another failure, it failed by itself.
        if (signal.aborted && step.id !== installId) handle.skip("given up");
        context.fail(error);
        throw error;
      }
    });
  const buildId = `build ${name}`;
  const installId = `install ${name}`;
  const readyOf = one.service.dependsOn.map((dependency) => `ready ${dependency}`);
  const hasImages = service.config.build !== undefined || service.config.images !== undefined;
  const built = !hasImages
    ? { values: {} }
    : await context.limit(() => {
        signal.throwIfAborted();
        return run({ id: buildId, title: `build ${name}` }, async (step) => {
          const result = await buildImages(service, options.provider, options.project.name, {
            cache: options.cache,
            env: options.env,
            signal,
            onProgress: (text) => step.detail(text),
            onWarning: (text) => step.note(text),
            ...(options.pull === undefined ? {} : { pull: options.pull }),
          });
          if (result.cached) step.skip("unchanged");
          return result;
        });
      });
  await Promise.all(context.dependencies);
  signal.throwIfAborted();

  const values = mergeValues(chart.values, built.values);
  const fingerprint = fingerprintOf(chart, values);
  const { release } = context;
  const installed = () => workloadsOf(context.view.objects(), name).length;
  const unchanged =
    release?.status === "deployed" &&
    release.fingerprint === fingerprint &&
    installed() >= (release.workloads ?? 0);
  if (!unchanged) {
    const after = hasImages ? [buildId, ...readyOf] : readyOf;
    await run({ id: installId, title: `install ${name}`, after }, async () => {
      // A failure elsewhere lets Helm finish, so that no release is left half written; Ctrl-C does not.
      await install(
        { ...options, view: context.view, signal: context.interrupt },
        {
          service: name,
          chart,
          values,
          labels: {
            [stackLabel]: stack.name,
            [serviceLabel]: name,
            [workspaceLabel]: options.project.name,
            [fingerprintLabel]: fingerprint,
            [profileLabel]: stack.profile,
            // What Helm would keep of the revision before: this is no package, and is not known to be ready.
            ...(release === undefined ? {} : { [versionLabel]: "null", [workloadsLabel]: "null" }),
          },
        },
      );
    });
  }
  const after = unchanged ? [...(hasImages ? [buildId] : []), ...readyOf] : [installId];
  await run({ id: `ready ${name}`, title: `ready ${name}`, after }, async (step) => {
    if (unchanged) step.skip("unchanged");
    await ready({ ...options, view: context.view }, name, {
      step,
      remember: !unchanged || release?.workloads === undefined,
    });
  });
  return { service: name, stack: stack.name, namespace: stack.namespace, changed: !unchanged };
}
