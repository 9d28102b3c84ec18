/** The steps that kws brings: what the single commands do, on the run's own cluster and in its namespace. */
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import { UserError } from "@kws/base/errors";
import { isApiError } from "@kws/kube/status";
import { analyze } from "../analysis/analyze.ts";
import type { Subject } from "../analysis/subject.ts";
import { buildImages } from "../images/build.ts";
import { packageService } from "../packages/package.ts";
import { publishPackage, userRegistries } from "../packages/publish.ts";
import type { PackageStore } from "../packages/store.ts";
import type { Builtin } from "../project/pipeline-schema.ts";
import { type Project, type ProjectService, hasSource, type StackService } from "../project/workspace.ts";
import type { Provider } from "../providers/provider.ts";
import type { Holder } from "../services/lease.ts";
import { startDatastores } from "../tests/datastores.ts";
import { TestImages } from "../tests/images.ts";
import { readReports } from "../tests/junit.ts";
import { chooseSuites, type TestSuite } from "../tests/levels.ts";
import type { TestResult } from "../tests/results.ts";
import { runTests } from "../tests/run.ts";
import { makeSecrets } from "../tests/secrets.ts";
import { isQuarantined, type TestRecord } from "./flaky.ts";
import type { JobContext, JobEnd, JobResult } from "./job.ts";
import type { Plan } from "./plan.ts";

/** What is offered to promotion, and told to people. */
export interface Offer {
  service: string;
  results: readonly JobResult[];
}

export interface BuiltinOptions {
  plan: Plan;
  project: Project;
  service: ProjectService;
  /** All of the workspace. */
  services: StackService[];
  provider: Provider;
  /** Where the packages' images are built. */
  builder: Provider;
  store: PackageStore;
  /** `host/path`; without one packages stay on this machine. */
  registry?: string;
  /** Push packages to the registry; else they stay on this machine, also with what is not committed. */
  push: boolean;
  /** Open on the service alone. */
  subject: (signal: AbortSignal) => Subject;
  /** Tells people; answers whom. */
  notify?: (offer: Offer) => Promise<string>;
  /** Offers the package to promotion; answers what became of it. */
  candidate?: (offer: Offer) => Promise<string>;
  helm: string;
  kubectl: string;
  cache: string;
  childEnv: NodeJS.ProcessEnv;
  log: Logger;
  steps: Steps;
  /** A monotonic clock in milliseconds. */
  now: () => number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  holder: Holder;
  /** For the tests' container to start. */
  startMs: number;
}

export type Builtins = Record<Builtin, (context: JobContext) => Promise<JobEnd>>;

export function openBuiltins(options: BuiltinOptions): Builtins {
  return {
    check: (context) => check(context, options),
    datastores: (context) => datastores(context, options),
    build: (context) => build(context, options),
    test: (context) => test(context, options),
    publish: (context) => publish(context, options),
    notify: (context) => tell(context, options, options.notify),
    candidate: (context) => tell(context, options, options.candidate),
  };
}

async function check({ log, signal }: JobContext, options: BuiltinOptions): Promise<JobEnd> {
  using subject = options.subject(signal);
  const { findings, counts } = await analyze(subject, { only: [], skip: [], fix: false, now: options.now });
  for (const { id, severity, message, where, fix } of findings) {
    if (severity === "ok") continue;
    await log(`${severity}: ${id}: ${where === undefined ? "" : `${where}: `}${message}\n`);
    if (fix !== undefined) await log(`  ${fix}\n`);
  }
  if (counts.error === 0) return { outcome: "passed" };
  return { outcome: "failed", why: `${counts.error} of the guidelines are not kept` };
}

function unitSuite({ services, service }: BuiltinOptions): TestSuite | undefined {
  if (service.config.tests?.unit === undefined) return undefined;
  return chooseSuites(services, { names: [service.name], level: "unit" })[0];
}

/** Where datastores and tests share what they alone know. */
const placeOf = (namespace: string) => ({ namespace, secret: "tests" });

/** Those of the pipeline and those of the unit tests, which find them running. */
async function datastores(context: JobContext, options: BuiltinOptions): Promise<JobEnd> {
  const { connection, namespace, view, signal } = context;
  const { service, plan, services } = options;
  const all = { ...service.config.tests?.unit?.datastores, ...plan.pipeline.services };
  const names = Object.keys(all);
  if (names.length === 0) return { outcome: "skipped", why: "none are declared" };
  const steps = options.steps.scoped(context.job.id);
  const built = new TestImages({
    ...options,
    workspace: options.project.name,
    env: options.childEnv,
    steps,
    signal,
  });
  const images = new Map<string, string>();
  for (const [name, { image, service: other }] of Object.entries(all)) {
    const found = services.find((one) => one.name === other);
    if (image !== undefined) images.set(name, image);
    else if (found !== undefined && hasSource(found)) images.set(name, await built.single(found));
  }
  const { secrets = [] } = service.config.tests?.unit ?? {};
  const suite: TestSuite = { service, level: "unit", config: { run: [], datastores: all, secrets } };
  const place = placeOf(namespace);
  await makeSecrets(suite, { ...place, client: connection.client, signal }).catch((error: unknown) => {
    // Of an earlier try, whose datastores know them.
    if (!isApiError(error, "AlreadyExists")) throw error;
  });
  await startDatastores({ suite, place, connection, view, images, steps, signal, clock: options.clock });
  await context.log(`ready: ${names.join(", ")}\n`);
  return { outcome: "passed" };
}

async function build({ log, step, signal }: JobContext, options: BuiltinOptions): Promise<JobEnd> {
  const { service, provider, project, cache, childEnv } = options;
  const lines: string[] = [];
  const { images, cached } = await buildImages(service, provider, project.name, {
    cache,
    env: childEnv,
    signal,
    onProgress(text) {
      step.detail(text);
      lines.push(text);
    },
    onWarning: (text) => lines.push(text),
  });
  if (images.length === 0) return { outcome: "skipped", why: `${service.name} builds no image` };
  const names = images.map(({ repository, digest }) => `${repository}@${digest}`);
  await log([...lines, cached ? "unchanged" : "built", ...names, ""].join("\n"));
  if (cached) step.note("unchanged");
  return { outcome: "passed", outputs: { image: names.join(",") } };
}

async function test(context: JobContext, options: BuiltinOptions): Promise<JobEnd> {
  const { namespace, connection, log, step, signal } = context;
  const suite = unitSuite(options);
  if (suite === undefined) return { outcome: "skipped", why: "kws.yaml has no unit tests" };
  const steps = options.steps.scoped(context.job.id);
  const [result] = await runTests({
    ...options,
    connect: () => Promise.resolve(connection),
    suites: [suite],
    env: options.childEnv,
    steps,
    signal,
    parallel: 1,
    keep: false,
    force: false,
    reuseFailures: false,
    beside: placeOf(namespace),
    onOutput: log,
    plan: () => Promise.resolve([]),
  });
  if (result === undefined) throw new Error("a suite that was run has no result");
  if (result.cached) {
    step.note(`passed at ${result.ranAt} with the same content`);
    await log(`passed at ${result.ranAt} with the same content\n`);
  }
  for (const note of result.notes) await log(`${note}\n`);
  if (result.error !== undefined)
    throw new UserError(result.error.message, result.error as ConstructorParameters<typeof UserError>[1]);
  return judge(result, await recordsOf(result), options.plan.pipeline.quarantine ?? [], log);
}

/** None of a result that is of an earlier run. */
async function recordsOf(result: TestResult): Promise<TestRecord[]> {
  const { folder, ranAt } = result;
  const records: TestRecord[] = [];
  if (folder === undefined || result.cached) return records;
  // The folder's name is the key of the content.
  const content = folder.slice(folder.lastIndexOf("/") + 1);
  await readReports(`${folder}/reports`, ({ suite, name, outcome }) => {
    if (outcome === "skipped") return;
    records.push({ test: suite === "" ? name : `${suite}: ${name}`, content, outcome, at: ranAt });
  });
  return records;
}

/** A failure counts unless all that failed is in quarantine. */
async function judge(
  result: TestResult,
  records: TestRecord[],
  quarantine: string[],
  log: JobContext["log"],
): Promise<JobEnd> {
  const { tests } = result;
  const told: Partial<JobEnd> = { records, ...(tests === undefined ? {} : { tests }) };
  if (result.outcome === "passed") return { outcome: "passed", ...told };
  const failed = records.filter(({ outcome }) => outcome === "failed").map((record) => record.test);
  const counted = failed.filter((name) => !isQuarantined(name, quarantine));
  for (const name of failed)
    await log(`failed: ${name}${counted.includes(name) ? "" : " (in quarantine)"}\n`);
  if (failed.length > 0 && counted.length === 0 && result.reason === undefined)
    return { outcome: "passed", ...told };
  const why =
    counted.length > 0
      ? `${counted.length} of ${records.length} tests failed`
      : result.reason === "timeout"
        ? "the tests did not end in time"
        : (result.reason ?? `exit code ${result.exitCode}`);
  return { outcome: "failed", why, ...told };
}

async function publish({ log, step, signal }: JobContext, options: BuiltinOptions): Promise<JobEnd> {
  const { service, store, registry, push, childEnv } = options;
  const made = await packageService(service, {
    workspace: options.project.name,
    ...(registry === undefined ? {} : { registry }),
    allowDirty: !push,
    builder: options.builder,
    store,
    helm: options.helm,
    cache: options.cache,
    env: childEnv,
    signal,
    onProgress: (text) => step.detail(text),
  });
  await log(`${made.chart}@${made.digest}\n`);
  const outputs = { package: `${made.chart}@${made.digest}`, version: made.version };
  if (!push || registry === undefined) {
    const why = push ? "no registry is set" : "only with --publish";
    step.note(`${made.version}, not pushed: ${why}`);
    await log(`not pushed: ${why}\n`);
    return { outcome: "passed", outputs };
  }
  const pushed = await publishPackage(made, { store, registries: userRegistries(childEnv), signal });
  await log(pushed ? "pushed\n" : "the registry has it already\n");
  return { outcome: "passed", outputs };
}

async function tell(
  { log, results, step }: JobContext,
  { service }: BuiltinOptions,
  work: ((offer: Offer) => Promise<string>) | undefined,
): Promise<JobEnd> {
  if (work === undefined) return { outcome: "skipped", why: "there is no server to do it" };
  const said = await work({ service: service.name, results: [...results.values()] });
  step.note(said);
  await log(`${said}\n`);
  return { outcome: "passed" };
}
