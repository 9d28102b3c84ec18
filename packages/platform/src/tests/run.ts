/** Running suites: what they need is built once, each gets its own place, and results of the same content are not made twice. */
import { randomBytes } from "node:crypto";
import { parseDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { ApiError } from "@kws/kube/status";
import { mergeValues } from "../charts/layers.ts";
import { graphNode, type Project, type ProjectStack, type StackService } from "../project/workspace.ts";
import { defaultProfile, hasSource } from "../project/workspace.ts";
import type { Connection, Provider } from "../providers/provider.ts";
import { listReleases } from "../services/releases.ts";
import { fingerprintOf } from "../stacks/install.ts";
import type { ServicePlan } from "../stacks/plan.ts";
import { startStack } from "../stacks/start.ts";
import { NamespaceView } from "../stacks/view.ts";
import { attempt, type Attempt } from "./attempt.ts";
import { startDatastores } from "./datastores.ts";
import { makeSecrets } from "./secrets.ts";
import { TestImages } from "./images.ts";
import { readReports } from "./junit.ts";
import { suiteName, type TestSuite } from "./levels.ts";
import { freshPlace, type Place, type PlaceOptions, sharedPlace, sweep } from "./place.ts";
import { contentKey, ResultStore, type TestResult } from "./results.ts";

export interface TestOptions extends Omit<PlaceOptions, "workspace" | "connection"> {
  /** Starts the cluster where it does not run; asked for only when there is something to run. */
  connect: () => Promise<Connection>;
  project: Project;
  suites: TestSuite[];
  /** All of the workspace. */
  services: StackService[];
  provider: Provider;
  /** The path of the program. */
  kubectl: string;
  cache: string;
  /** How many suites run at once. */
  parallel: number;
  /** Leave the namespaces as they are. */
  keep: boolean;
  /** Run also what has passed with the same content. */
  force: boolean;
  /** Do not run again what has failed with the same content. */
  reuseFailures: boolean;
  /** Run functional tests in this stack, as it is. */
  running?: ProjectStack;
  /** Where the datastores of unit tests run already; in a namespace of the tests' own unless given. */
  beside?: Pick<Place, "namespace" | "secret">;
  /** Gets what the tests print as it comes. */
  onOutput?: (chunk: Uint8Array) => Promise<void>;
  /** The charts' profile of functional tests, instead of what kws.yaml says. */
  profile?: string;
  /** For one service, or the tests' container, to start. */
  startMs: number;
  /** Look for newer base images in their registries. */
  pull?: boolean;
  /** Reads and checks all that a service and its dependencies need to be installed. */
  plan: (stack: ProjectStack, service: string) => Promise<ServicePlan[]>;
}

type Connected = TestOptions & { connection: Connection };

/** Results in the order of the suites. One that cannot be run does not keep the others from running. */
export async function runTests(options: TestOptions): Promise<TestResult[]> {
  const { suites, project, signal } = options;
  const cluster = openOnce(options);
  const images = new TestImages({ ...options, workspace: project.name });
  const limit = limiter(options.parallel);
  const results = await Promise.allSettled(
    suites.map((suite) =>
      limit(async () => {
        signal.throwIfAborted();
        return runSuite(suite, images, { ...options, connect: cluster.open });
      }),
    ),
  );
  signal.throwIfAborted();
  if (cluster.failure() !== undefined) throw cluster.failure();
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/** The cluster for all suites, without what earlier runs left in it. That it cannot be had is no fault of a suite. */
function openOnce(options: TestOptions): { open: () => Promise<Connection>; failure: () => unknown } {
  let failure: unknown;
  const open = async () => {
    const connection = await options.connect();
    await sweep({ ...options, connection, workspace: options.project.name });
    return connection;
  };
  let opened: Promise<Connection> | undefined;
  return {
    open: () =>
      (opened ??= open().catch((error: unknown) => {
        failure = error;
        throw error;
      })),
    failure: () => failure,
  };
}

async function runSuite(suite: TestSuite, images: TestImages, options: TestOptions): Promise<TestResult> {
  const { clock, signal } = options;
  const steps = options.steps.scoped(suiteName(suite));
  const began = clock();
  try {
    return await runPrepared(await prepare(suite, images, options), { ...options, steps });
  } catch (error) {
    if (signal.aborted || !(error instanceof UserError || error instanceof ApiError)) throw error;
    const { message } = error;
    const told =
      error instanceof UserError
        ? {
            code: error.code,
            message,
            ...(error.at === undefined ? {} : { at: error.at }),
            ...(error.fix === undefined ? {} : { fix: error.fix }),
          }
        : { code: "failed", message };
    return {
      service: suite.service.name,
      level: suite.level,
      outcome: "error",
      cached: false,
      ranAt: rfc3339(began),
      durationMs: clock() - began,
      failures: [],
      lastLines: [],
      notes: [],
      error: told,
    };
  }
}

/** A suite with all that it needs built, and the key of that content. */
interface Prepared {
  suite: TestSuite;
  image: string;
  /** By the datastores' names. */
  datastores: Map<string, string>;
  /** What is installed for it; empty for unit tests, and in a running stack. */
  plans: ServicePlan[];
  profile: string;
  /** Undefined where the content cannot be known. */
  key: string | undefined;
}

async function prepare(suite: TestSuite, images: TestImages, options: TestOptions): Promise<Prepared> {
  const { services, running } = options;
  const { config, level } = suite;
  const profile = options.profile ?? config.profile ?? defaultProfile;
  const datastores = new Map<string, string>();
  for (const [name, { image, service: other }] of Object.entries(
    running === undefined ? (config.datastores ?? {}) : {},
  )) {
    const service = services.find((one) => one.name === other);
    if (image !== undefined) datastores.set(name, image);
    else if (service !== undefined && hasSource(service)) datastores.set(name, await images.single(service));
  }
  const image = await images.ofSuite(suite);
  if (running !== undefined) return { suite, image, datastores, plans: [], profile, key: undefined };
  // The place has no name yet, and what is installed does not depend on it.
  const stack = { name: "tests", namespace: "tests", profile, services: undefined };
  const plans = level === "unit" ? [] : await options.plan(stack, suite.service.name);
  const installed = [];
  for (const plan of plans) {
    if (plan.how === "await") continue;
    const { service, chart } = plan;
    const values = plan.how === "build" ? (await images.ofService(plan.service)).values : {};
    const digest = plan.how === "package" ? plan.prepared.found.digest : "";
    installed.push([service.name, fingerprintOf(chart, mergeValues(chart.values, values)), digest]);
  }
  const key = contentKey({
    suite: [suite.service.name, level, config],
    image,
    datastores: [...datastores],
    profile,
    installed,
  });
  return { suite, image, datastores, plans, profile, key };
}

async function runPrepared(prepared: Prepared, options: TestOptions): Promise<TestResult> {
  const { suite, key } = prepared;
  const { steps, cache, clock, force, reuseFailures } = options;
  const store = new ResultStore(cache);
  const known = key === undefined || force ? undefined : await store.find(key);
  if (known !== undefined && (known.outcome === "passed" || reuseFailures)) {
    await steps.run({ id: "tests", title: "tests" }, async (step) =>
      step.skip(`${known.outcome} at ${known.ranAt}`),
    );
    return known;
  }
  await using work = await store.workFolder();
  const began = clock();
  const connection = await options.connect();
  await using place = await placeOf(prepared, { ...options, connection });
  const ended = await runIn(place, prepared, { ...options, connection, folder: work.path });
  const reports = await readReports(`${work.path}/reports`);
  const { counts } = reports;
  const passed = ended.exitCode === 0 && counts.failed === 0;
  const result: TestResult = {
    service: suite.service.name,
    level: suite.level,
    outcome: passed ? "passed" : "failed",
    cached: false,
    ranAt: rfc3339(began),
    durationMs: ended.durationMs,
    ...(ended.exitCode === undefined ? {} : { exitCode: ended.exitCode }),
    ...(ended.reason === undefined ? {} : { reason: ended.reason }),
    ...(reports.files === 0 ? {} : { tests: counts }),
    failures: reports.failures,
    lastLines: passed ? [] : ended.lastLines,
    notes: [...ended.notes, ...reports.notes],
  };
  const kept = await store.keep(
    key ?? contentKey([suite.service.name, suite.level, began]),
    result,
    work.path,
  );
  return options.keep ? { ...kept, namespace: place.namespace } : kept;
}

async function placeOf({ suite }: Prepared, options: Connected): Promise<Place> {
  const { project, running, beside, services, connection, signal } = options;
  const place = { ...options, workspace: project.name, suffix: randomBytes(3).toString("hex") };
  if (beside !== undefined) return sharedPlace(suite, beside.namespace, { ...place, ...beside });
  if (running === undefined) return freshPlace(suite, { ...place, graph: services.map(graphNode) });
  const releases = await listReleases(connection.client, { stack: running.name, signal });
  const { name } = suite.service;
  const release = releases.find((one) => one.service === name && one.namespace === running.namespace);
  if (release !== undefined) return sharedPlace(suite, release.namespace, place);
  throw new UserError(`${name} is not installed in the stack ${running.name}`, {
    code: "not-found",
    fix: `Run \`kws service start ${name} --stack ${running.name}\`, or the tests without --stack.`,
  });
}

async function runIn(
  place: Place,
  { suite, image, datastores, plans, profile }: Prepared,
  options: Connected & { folder: string },
): Promise<Attempt> {
  const { connection, steps, running, beside, startMs } = options;
  const { namespace } = place;
  const signal = AbortSignal.any([options.signal, place.signal]);
  await using view = new NamespaceView(connection.client, namespace);
  await view.open();
  if (beside === undefined) await makeSecrets(suite, { ...place, client: connection.client, signal });
  if (running === undefined && beside === undefined) {
    await startDatastores({ ...options, suite, place, view, images: datastores, signal });
  }
  if (plans.length > 0) {
    const stack = { name: namespace, namespace, profile, services: undefined };
    await startStack({ ...options, stack, plans, whole: true, signal, timeoutMs: startMs });
  }
  // Awaited here: the view is open until then.
  return await steps.run({ id: "tests", title: "tests" }, (step) =>
    attempt({
      ...options,
      suite,
      namespace,
      pod: place.pod,
      secret: place.secret,
      image,
      view,
      step,
      signal,
      timeoutMs: parseDuration(suite.config.timeout ?? "10m"),
    }),
  );
}

/** To the second. */
function rfc3339(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, "Z");
}
