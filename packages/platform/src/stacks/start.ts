/**
 * Starting a stack: images are built in parallel, each service's chart is installed as soon as what it depends on is
 * ready, and what has not changed is left alone. Everything is checked before anything is changed.
 */
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Logger } from "@kws/base/logger";
import type { StepHandle, Steps } from "@kws/base/steps";
import { mergeValues, type Values } from "../charts/layers.ts";
import { buildImages } from "../images/build.ts";
import { importImages, localImages } from "../packages/images.ts";
import { renderPrepared } from "../packages/prepare.ts";
import { tagOf } from "../packages/version.ts";
import { waves } from "../project/graph.ts";
import type { Project, ProjectStack } from "../project/workspace.ts";
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
import { readMark } from "../services/held.ts";
import type { Holder } from "../services/lease.ts";
import { listReleases, type Release } from "../services/releases.ts";
import { workloadsOf } from "../services/workloads.ts";
import { conditionName, untilCondition } from "./conditions.ts";
import { dropUnfinished, fingerprintOf, install, ready } from "./install.ts";
import { lockStack } from "./lock.ts";
import { ensureNamespace, ownRelease, refuseForeign } from "./namespace.ts";
import type { BuildPlan, PackagePlan, ServicePlan } from "./plan.ts";
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
  /** What the stack uses from another cluster. */
  remote?: RemoteServices;
}

/** Services that are not started, and that others depend on. */
export interface RemoteServices {
  names: string[];
  /** Makes them reachable in the stack's namespace, before anything is installed. */
  connect(): Promise<void>;
  /** Resolves when connections to the service get somewhere. */
  ready(name: string, signal: AbortSignal): Promise<void>;
}

export interface StartedService {
  service: string;
  stack: string;
  namespace: string;
  /** Installed or upgraded; false where it already was as wanted. */
  changed: boolean;
  /** Of the package that it was installed from. */
  digest?: string;
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
    plans.filter(({ how }) => how !== "await").map(({ service }) => ownRelease(service.name)),
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
  await options.remote?.connect();
  await using view = new NamespaceView(connection.client, stack.namespace);
  await view.open();

  const failed = new AbortController();
  const fail = (reason: unknown) => failed.abort(reason);
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const limit = limiter(parallelBuilds);
  const running = new Map<string, Promise<StartedService>>();
  const remote = new Map<string, Promise<void>>();
  for (const name of options.remote?.names ?? []) {
    const work = options.remote?.ready(name, signal) ?? Promise.resolve();
    work.catch(fail);
    remote.set(name, work);
  }
  const byName = new Map(plans.map((plan) => [plan.service.name, plan]));
  const order = waves(plans.map(({ service }) => service)).flat();
  for (const one of order.flatMap((name) => byName.get(name) ?? [])) {
    const dependencies = one.service.dependsOn
      .map((name) => running.get(name) ?? remote.get(name))
      .filter((promise) => promise !== undefined);
    const after = one.service.dependsOn
      .filter((name) => running.has(name) || remote.has(name))
      .map((name) => `ready ${name}`);
    const release = before.find((candidate) => candidate.service === one.service.name);
    const work = startService({ ...options, signal }, one, {
      release,
      dependencies,
      after,
      limit,
      view,
      interrupt: options.signal,
      fail,
    });
    work.catch(fail);
    running.set(one.service.name, work);
  }
  const [results] = await Promise.all([
    Promise.allSettled(running.values()),
    Promise.allSettled(remote.values()),
  ]);
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

interface StartContext {
  release: Release | undefined;
  dependencies: Promise<unknown>[];
  /** Their steps. */
  after: string[];
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
  const { service } = one;
  const { stack, steps, signal } = options;
  const { name } = service;
  const installId = `install ${name}`;
  const run: Steps["run"] = async (step, work) => {
    // No step begins after a failure elsewhere.
    signal.throwIfAborted();
    return steps.run(step, async (handle) => {
      try {
        return await work(handle);
      } catch (error) {
        // An install is not given up: where it ends badly after another failure, it failed by itself.
        if (signal.aborted && step.id !== installId) handle.skip("given up");
        context.fail(error);
        throw error;
      }
    });
  };
  const { release } = context;
  const place = { service: name, stack: stack.name, namespace: stack.namespace };
  const readyStep = { id: `ready ${name}`, title: `ready ${name}` };
  if (one.how === "await") {
    await run(readyStep, async (step) => {
      step.skip("installed before");
      await ready({ ...options, view: context.view }, name, { step, remember: false });
    });
    return { ...place, changed: false };
  }
  const images = imagesOf(one, options);
  const brought = images === undefined ? {} : await context.limit(() => run(images.step, images.bring));
  await Promise.all(context.dependencies);
  signal.throwIfAborted();
  const held = workloadsOf(context.view.objects(), name)
    .map(({ object }) => readMark(object))
    .find((mark) => mark !== undefined);
  if (held !== undefined) {
    await run({ ...readyStep, after: context.after }, async (step) =>
      step.skip(
        `in development mode since ${held.since} by ${held.by}; \`kws service down ${name}\` ends that`,
      ),
    );
    return { ...place, changed: false };
  }
  for (const [index, condition] of service.conditions.entries()) {
    const title = `wait for ${conditionName(condition)}`;
    await run({ id: `condition ${name} ${index}`, title, after: context.after }, (step) =>
      untilCondition(condition, {
        ...options,
        client: options.connection.client,
        namespace: stack.namespace,
        onProgress: (text) => step.detail(text),
        at: service.file.at([...service.keys, "dependsOn"]),
      }),
    );
  }
  const after = [
    ...(images === undefined ? [] : [images.step.id]),
    ...context.after,
    ...service.conditions.map((_, index) => `condition ${name} ${index}`),
  ];

  const { chart } = one;
  const values = mergeValues(chart.values, brought);
  const fingerprint = fingerprintOf(chart, values);
  const found = one.how === "package" ? one.prepared.found : undefined;
  const installed = () => workloadsOf(context.view.objects(), name).length;
  const unchanged =
    release?.status === "deployed" &&
    release.fingerprint === fingerprint &&
    release.version === (found?.version ?? "") &&
    installed() >= (release.workloads ?? 0);
  if (!unchanged) {
    await run({ id: installId, title: `install ${name}`, after }, async () => {
      if (one.how === "package") await refuseSealed(one, options);
      // A failure elsewhere lets Helm finish, so that no release is left half written; Ctrl-C does not.
      await install(
        { ...options, view: context.view, signal: context.interrupt },
        {
          release: name,
          services: [name],
          chart,
          values,
          labels: {
            [stackLabel]: stack.name,
            [serviceLabel]: name,
            [workspaceLabel]: options.project.name,
            [fingerprintLabel]: fingerprint,
            [profileLabel]: stack.profile,
            ...(found === undefined ? {} : { [versionLabel]: tagOf(found.version) }),
            // What Helm would keep of the revision before: this is perhaps no package, and is not known to be ready.
            ...(release === undefined
              ? {}
              : { [workloadsLabel]: "null", ...(found === undefined ? { [versionLabel]: "null" } : {}) }),
          },
          ...(found === undefined
            ? {}
            : { description: `${found.version} (${found.digest}), profile ${stack.profile}` }),
        },
      );
    });
  }
  await run({ ...readyStep, after: unchanged ? after : [installId] }, async (step) => {
    if (unchanged) step.skip("unchanged");
    await ready({ ...options, view: context.view }, name, {
      step,
      remember: !unchanged || release?.workloads === undefined,
    });
  });
  return {
    ...place,
    changed: !unchanged,
    ...(found === undefined ? {} : { digest: found.digest }),
  };
}

/** How the service's images come to the cluster, which answers the values that name them; undefined where it has none to bring. */
function imagesOf(
  one: BuildPlan | PackagePlan,
  options: StartStackOptions,
): { step: { id: string; title: string }; bring: (step: StepHandle) => Promise<Values> } | undefined {
  const { signal, provider, project, cache, env, pull } = options;
  const { service } = one;
  if (one.how === "build") {
    const { config } = one.service;
    if (config.build === undefined && config.images === undefined) return undefined;
    return {
      step: { id: `build ${service.name}`, title: `build ${service.name}` },
      async bring(step) {
        signal.throwIfAborted();
        const result = await buildImages(one.service, provider, project.name, {
          cache,
          env,
          signal,
          onProgress: (text) => step.detail(text),
          onWarning: (text) => step.note(text),
          ...(pull === undefined ? {} : { pull }),
        });
        if (result.cached) step.skip("unchanged");
        return result.values;
      },
    };
  }
  const { found } = one.prepared;
  const images = localImages(found);
  if (images.length === 0) return undefined;
  return {
    step: { id: `image ${service.name}`, title: `image ${service.name}` },
    async bring(step) {
      signal.throwIfAborted();
      const copied = await importImages(
        { images, version: found.version },
        { source: one.source, provider, signal },
      );
      if (!copied) step.skip("present");
      return {};
    },
  };
}

async function refuseSealed({ prepared }: PackagePlan, options: StartStackOptions): Promise<void> {
  const { connection, stack } = options;
  await renderPrepared(prepared, {
    ...options,
    namespace: stack.namespace,
    kubeconfig: connection.kubeconfig,
  });
}
