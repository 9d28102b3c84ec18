/**
 * Runs a plan: what may begin begins, what has ended decides what comes next, and the run's namespace goes at the end. All that comes
 * from outside comes in through `journal.step`, one after the other and always in the same order; a journal that remembers what its
 * steps answered lets another process go on where this one was killed.
 */
import { UserError } from "@kws/base/errors";
import { parseDuration } from "@kws/base/duration";
import { limiter } from "@kws/base/limiter";
import { sleep } from "@kws/base/retry";
import type { StepHandle, Steps } from "@kws/base/steps";
import { pods, secrets } from "@kws/kube/resources";
import { ApiError, isApiError } from "@kws/kube/status";
import type { ProjectService } from "../project/workspace.ts";
import type { Connection } from "../providers/provider.ts";
import type { Holder } from "../services/lease.ts";
import { NamespaceView } from "../stacks/view.ts";
import { type Budget, openBudget } from "./budget.ts";
import type { Builtins } from "./builtins.ts";
import type { JobContext, JobEnd, JobResult } from "./job.ts";
import { masked, masker } from "./masks.ts";
import type { LogWriter } from "./logs/store.ts";
import { openPlace } from "./place.ts";
import type { Job, Plan } from "./plan.ts";
import { jobLabel } from "./pods.ts";
import { ancestors, runStep, type StepOptions } from "./step.ts";
import type { Trigger } from "./when.ts";

/** Remembers what steps answered. */
export interface Journal {
  /** Does the work and remembers its answer, which is JSON; or answers what is remembered under the name. */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** Remembers nothing. */
export const forgetful: Journal = { step: (_name, work) => work() };

export interface RunOptions extends Omit<StepOptions, "plan" | "run" | "env"> {
  /** Part of names of Kubernetes objects: lower-case letters, digits and hyphens, at most 40. */
  id: string;
  plan: Plan;
  trigger: Trigger;
  service: ProjectService;
  /** The commit that is built; undefined where it is not known. */
  commit?: string;
  connection: Connection;
  builtins: Builtins;
  journal: Journal;
  /** Opens the log of a job, empty: where a run goes on in another process, its pods' output is read again from the beginning. */
  openLog: (job: Job) => Promise<LogWriter>;
  /** Resolves when somebody has allowed the job; a `UserError` where it was refused, which fails the job. */
  approve: (job: Job) => Promise<void>;
  /** Told of each job that has ended, as soon as its result counts. */
  onResult?: (result: JobResult) => void;
  /** Told of every job, under its id. */
  steps: Steps;
  /** Jobs at once. */
  parallel: number;
  keepOnFailure: boolean;
  holder: Holder;
  signal: AbortSignal;
}

export interface RunResult {
  run: string;
  service: string;
  /** `cancelled`: it was ended before its jobs had. */
  outcome: "passed" | "failed" | "cancelled";
  /** What ended it, where that was not its jobs. */
  why?: string;
  trigger: Trigger;
  /** RFC 3339. */
  startedAt: string;
  durationMs: number;
  jobs: JobResult[];
  /** Where the pods are, when they were kept. */
  namespace?: string;
}

export const defaultRunTimeout = "2h";

/** A job that fails is a result; what is thrown ended the run: the signal's reason, its own time, or a cluster that is lost. */
export async function runPipeline(options: RunOptions): Promise<RunResult> {
  const { plan, id, service, connection, clock, keepOnFailure } = options;
  const began = clock();
  const timeout = plan.pipeline.timeout ?? defaultRunTimeout;
  const budget = openBudget(
    parseDuration(timeout),
    clock,
    () =>
      new UserError(`the run did not end within ${timeout}`, {
        code: "timeout",
        at: service.file.at(["pipeline"]),
      }),
  );
  try {
    const asked = AbortSignal.any([options.signal, budget.signal]);
    await using place = await openPlace({
      ...options,
      client: connection.client,
      run: id,
      service: service.name,
      internet: plan.pipeline.internet ?? true,
      signal: asked,
    });
    const signal = AbortSignal.any([asked, place.signal]);
    await using view = new NamespaceView(connection.client, place.namespace);
    await view.open();
    const jobs = await runJobs({ ...options, signal }, place.namespace, view, budget);
    const failed = jobs.some(({ outcome }) => outcome === "failed");
    const outcome = failed ? "failed" : "passed";
    place.ended(outcome);
    return {
      run: id,
      service: service.name,
      outcome,
      trigger: options.trigger,
      startedAt: rfc3339(began),
      durationMs: clock() - began,
      jobs,
      ...(failed && keepOnFailure ? { namespace: place.namespace } : {}),
    };
  } finally {
    budget.pause();
  }
}

async function runJobs(
  options: RunOptions,
  namespace: string,
  view: NamespaceView,
  budget: Budget,
): Promise<JobResult[]> {
  const { plan, journal } = options;
  const results = new Map<string, JobResult>();
  const running = new Map<string, Promise<JobResult>>();
  const stopped = new AbortController();
  const signal = AbortSignal.any([options.signal, stopped.signal]);
  const limit = limiter(options.parallel);
  const waiting = new Set<string>();
  const count = () => {
    if (waiting.size > 0 && waiting.size === running.size) budget.pause();
    else budget.resume();
  };
  const begin = async (job: Job): Promise<JobResult> => {
    const seen = new Map(results);
    let refusal: UserError | undefined;
    if (job.config.approval === true) {
      waiting.add(job.id);
      refusal = await askFor(job, options, signal).finally(() => waiting.delete(job.id));
      count();
    }
    return limit(() => runJob(job, { results: seen, refusal, namespace, view }, { ...options, signal }));
  };
  try {
    for (;;) {
      settle(plan, results);
      if (results.size === plan.jobs.length) break;
      const result = await journal.step(`job ${results.size + 1}`, () => {
        for (const job of plan.jobs)
          if (!running.has(job.id) && mayBegin(job, plan, results)) running.set(job.id, begin(job));
        count();
        return Promise.race(running.values());
      });
      running.delete(result.job);
      results.set(result.job, result);
      options.onResult?.(result);
      count();
      await removePods(options, namespace, result.job);
    }
  } catch (error) {
    stopped.abort(error);
    throw error;
  } finally {
    await Promise.allSettled(running.values());
  }
  return plan.jobs.map(({ id }) => results.get(id)).filter((result) => result !== undefined);
}

/** The refusal, where the job is not allowed. Whoever is asked may know nothing of what ended the run meanwhile. */
async function askFor(
  job: Job,
  { approve }: RunOptions,
  signal: AbortSignal,
): Promise<UserError | undefined> {
  signal.throwIfAborted();
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    await Promise.race([approve(job), ended]);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UserError) return error;
    throw error;
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/** Ended, with all that it needs, in whatever way. */
function mayBegin(job: Job, plan: Plan, results: ReadonlyMap<string, JobResult>): boolean {
  return !results.has(job.id) && ancestors(job.id, plan).every((id) => results.has(id));
}

/** Leaves out what is not for this run, and what needs something that failed; people are told all the same. */
function settle(plan: Plan, results: Map<string, JobResult>): void {
  for (const job of plan.jobs) {
    if (results.has(job.id)) continue;
    const none = { job: job.id, title: job.title, durationMs: 0, attempts: 0, outputs: {} };
    if (job.skip !== undefined) {
      results.set(job.id, { ...none, outcome: "skipped", why: job.skip });
      continue;
    }
    if (job.uses === "notify") continue;
    const failed = ancestors(job.id, plan).find((id) => results.get(id)?.outcome === "failed");
    if (failed !== undefined) results.set(job.id, { ...none, outcome: "blocked", why: `${failed} failed` });
  }
}

async function runJob(
  job: Job,
  given: {
    results: ReadonlyMap<string, JobResult>;
    /** It was not approved. */
    refusal: UserError | undefined;
    namespace: string;
    view: NamespaceView;
  },
  options: RunOptions,
): Promise<JobResult> {
  const { refusal, ...within } = given;
  const { steps, clock, connection, signal } = options;
  const base = { job: job.id, title: job.title, outputs: {} };
  const work = async (step: StepHandle): Promise<JobResult> => {
    const began = clock();
    await using log = await options.openLog(job);
    const hidden = Object.values(options.secrets);
    const masks = masker(hidden);
    const context: JobContext = {
      ...within,
      job,
      connection,
      log: (text) => log.write(masks.write(Buffer.from(text))),
      step,
      signal,
    };
    const { end, attempts } =
      refusal === undefined
        ? await tryJob(context, options)
        : { end: await failure(refusal, context), attempts: 0 };
    const why = end.why === undefined ? {} : { why: masked(hidden, end.why) };
    await log.write(masks.end());
    if (why.why !== undefined) await log.write(`${end.outcome}: ${why.why}\n`);
    await log.end();
    const durationMs = clock() - began;
    const result = { ...base, ...end, ...why, startedAt: rfc3339(began), durationMs, attempts };
    if (end.outcome === "failed") throw new JobFailed(result);
    if (end.outcome === "skipped") step.skip(why.why);
    return result;
  };
  try {
    return await steps.run({ id: job.id, title: job.title, after: job.needs }, work);
  } catch (error) {
    if (error instanceof JobFailed) return error.result;
    throw error;
  }
}

/** So that the step shows as failed. */
class JobFailed extends Error {
  readonly result: JobResult;

  constructor(result: JobResult) {
    super(result.why ?? "");
    this.result = result;
  }
}

const retryMs = 1000;

/** As often as it may fail. */
async function tryJob(context: JobContext, options: RunOptions): Promise<{ end: JobEnd; attempts: number }> {
  const { job, signal, log } = context;
  const { retries = 0 } = job.config;
  const records: JobResult["records"] = [];
  for (let attempt = 1; ; attempt++) {
    const end = await once(context, options, attempt);
    records.push(...(end.records ?? []));
    if (end.outcome !== "failed" || attempt > retries) {
      return { end: records.length === 0 ? end : { ...end, records }, attempts: attempt };
    }
    await log(`failed: ${end.why ?? ""}; trying again (${attempt} of ${retries})\n`);
    await sleep(retryMs, signal);
  }
}

async function once(context: JobContext, options: RunOptions, attempt: number): Promise<JobEnd> {
  const { job, signal } = context;
  try {
    if (job.uses === undefined)
      return await runStep(context, { ...options, run: options.id, env: environment(options) }, attempt);
    return await within(options.builtins[job.uses], context);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof UserError || error instanceof ApiError)) throw error;
    return failure(error, context);
  }
}

async function failure(error: UserError | ApiError, { log }: JobContext): Promise<JobEnd> {
  const { at, fix } = error instanceof UserError ? error : {};
  for (const more of [at, fix]) if (more !== undefined) await log(`${more}\n`);
  return { outcome: "failed", why: error.message };
}

/** A built-in step within its `timeout`, where it has one. */
async function within(work: (context: JobContext) => Promise<JobEnd>, context: JobContext): Promise<JobEnd> {
  const { timeout } = context.job.config;
  if (timeout === undefined) return work(context);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error("late")), parseDuration(timeout));
  try {
    return await work({ ...context, signal: AbortSignal.any([context.signal, late.signal]) });
  } catch (error) {
    context.signal.throwIfAborted();
    if (late.signal.aborted) return { outcome: "failed", why: `it did not end within ${timeout}` };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function environment({ id, service, trigger, commit }: RunOptions): Record<string, string> {
  const { event, branch, tag } = trigger;
  return {
    CI: "true",
    KWS_RUN: id,
    KWS_SERVICE: service.name,
    KWS_EVENT: event,
    ...(branch === undefined ? {} : { KWS_BRANCH: branch }),
    ...(tag === undefined ? {} : { KWS_TAG: tag }),
    ...(commit === undefined ? {} : { KWS_COMMIT: commit }),
  };
}

/** Of a job whose result is remembered. They would go with the namespace; until then they take room. */
async function removePods(
  { connection, keepOnFailure, signal }: RunOptions,
  namespace: string,
  job: string,
): Promise<void> {
  if (keepOnFailure) return;
  const { client } = connection;
  for (const resource of [pods, secrets]) {
    const { items } = await client.list(resource, namespace, { labelSelector: `${jobLabel}=${job}`, signal });
    for (const { metadata } of items) {
      try {
        await client.delete(resource, metadata.name, namespace, { signal });
      } catch (error) {
        if (!isApiError(error, "NotFound")) throw error;
      }
    }
  }
}

/** To the second. */
function rfc3339(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, "Z");
}
