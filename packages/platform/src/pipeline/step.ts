/** One try of a step with `run`: its pod, its files, its output. A process that takes a run over finds the pod of the one before. */
import { parseDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { pathOf } from "@kws/kube/client";
import { pods, secrets } from "@kws/kube/resources";
import { containerRemote } from "../dev/sync/remote.ts";
import { fieldManager } from "../services/labels.ts";
import { podFault, stateOf } from "../tests/fault.ts";
import type { Blobs } from "./blobs.ts";
import type { JobContext, JobEnd } from "./job.ts";
import { masked } from "./masks.ts";
import { type Plan, withOutputs } from "./plan.ts";
import { filesContainer, stepContainer, type StepPod, stepPod, stepSecret } from "./pods.ts";
import type { Sources } from "./source.ts";
import { pack, readOutputs, release, unpack, unpackSources } from "./transfer.ts";

export interface StepOptions {
  plan: Plan;
  run: string;
  /** What every step gets: `CI`, `KWS_BRANCH`, … */
  env: Record<string, string>;
  /** All of the run's, by name. */
  secrets: Record<string, string>;
  sources: Sources;
  artifacts: Blobs;
  caches: Blobs;
  /** The path of the program. */
  kubectl: string;
  childEnv: NodeJS.ProcessEnv;
  /** For the pod to start. */
  startMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export const defaultStepTimeout = "30m";
const graceMs = 600_000;
/** For the rest of its output, when it has ended. */
const outputMs = 60_000;

/** The key of a job's artefacts. */
export function artifactsKey(run: string, job: string): string {
  return `${run}/${job}`;
}

export async function runStep(context: JobContext, options: StepOptions, attempt: number): Promise<JobEnd> {
  const { job, connection, namespace, signal } = context;
  const timeoutMs = parseDuration(job.config.timeout ?? defaultStepTimeout);
  const name = `${job.id}-${attempt}`;
  const pod = describePod(context, options, { name, timeoutMs });
  await begin(context, options, pod);
  await started(context, options, pod);
  const remote = containerRemote({
    kubeconfig: connection.kubeconfig,
    namespace,
    pod: () => name,
    container: filesContainer,
    kubectl: options.kubectl,
    env: options.childEnv,
  });
  const cache = await bringFiles(context, options, remote);
  const ended = await follow(context, options, name, timeoutMs);
  if (ended === "timeout") {
    await connection.client.delete(pods, name, namespace, { gracePeriodSeconds: 0, signal });
    return { outcome: "failed", why: `it did not end within ${job.config.timeout ?? defaultStepTimeout}` };
  }
  if (ended.exitCode !== 0) return { outcome: "failed", why: whyOf(ended) };
  const { outputs: names = [], artifacts } = job.config;
  const outputs = names.length === 0 ? {} : await readOutputs(remote, names, signal);
  const missing = names.filter((one) => !(one in outputs));
  if (missing.length > 0)
    return { outcome: "failed", why: `it did not write the outputs ${missing.join(", ")}` };
  const told = names.find(
    (one) => masked(Object.values(options.secrets), outputs[one] ?? "") !== outputs[one],
  );
  if (told !== undefined) return { outcome: "failed", why: `its output ${told} holds a secret` };
  const kept = { blobs: options.artifacts, key: artifactsKey(options.run, job.id) };
  if (artifacts !== undefined && !(await pack(remote, artifacts.paths, kept, signal))) {
    return { outcome: "failed", why: `there is nothing of ${artifacts.paths.join(", ")}` };
  }
  if (cache?.found === false)
    await pack(remote, job.config.cache?.paths ?? [], { blobs: options.caches, key: cache.key }, signal);
  return {
    outcome: "passed",
    outputs,
    ...(artifacts === undefined ? {} : { artifacts: true }),
    ...(cache === undefined ? {} : { cache: cache.found ? "hit" : "miss" }),
  };
}

function describePod(
  { job, namespace, results }: JobContext,
  options: StepOptions,
  { name, timeoutMs }: { name: string; timeoutMs: number },
): StepPod {
  const { pipeline } = options.plan;
  const outputs = new Map([...results.values()].map((result) => [result.job, result.outputs]));
  return {
    run: options.run,
    namespace,
    name,
    job,
    image: job.config.image ?? pipeline.image ?? "",
    env: withOutputs({ ...options.env, KWS_STEP: job.id, ...pipeline.env, ...job.config.env }, outputs),
    secrets: job.config.secrets ?? [],
    deadlineSeconds: Math.ceil((timeoutMs + options.startMs + graceMs) / 1000),
  };
}

async function begin({ connection, signal }: JobContext, options: StepOptions, pod: StepPod): Promise<void> {
  const { client } = connection;
  const write = { fieldManager, force: true, signal };
  if (pod.secrets.length > 0) {
    const values = Object.fromEntries(pod.secrets.map((name) => [name, options.secrets[name] ?? ""]));
    await client.apply(secrets, stepSecret(pod, values), write);
  }
  await client.apply(pods, stepPod(pod), write);
}

async function started(
  context: JobContext,
  { startMs, clock }: StepOptions,
  { name }: StepPod,
): Promise<void> {
  const { view, connection, namespace, job, signal } = context;
  const deadline = clock() + startMs;
  await view.until(async () => {
    const pod = podOf(context, name);
    if (pod !== undefined) {
      const [step, files] = [stepContainer, filesContainer].map((container) => stateOf(pod, container));
      if (step?.terminated !== undefined && files?.running !== undefined) return true;
      if (step?.running !== undefined && files?.running !== undefined) return true;
      const about = {
        connection,
        namespace,
        at: job.at,
        what: `the step ${job.title} cannot be started`,
        now: clock(),
      };
      for (const container of [stepContainer, filesContainer]) {
        const fault = await podFault(pod, container, about);
        if (fault !== undefined) throw fault;
      }
    }
    if (clock() < deadline) return undefined;
    throw new UserError(`the step ${job.title} did not start in ${startMs / 1000} s`, {
      code: "timeout",
      at: job.at,
      fix: "See whether the cluster has room for it, with `kubectl get events`.",
    });
  }, signal);
}

/** Sources, artefacts of the steps before, and the cache; then the step may begin. What is in the pod already stays. */
async function bringFiles(
  { job, results, signal, log }: JobContext,
  options: StepOptions,
  remote: ReturnType<typeof containerRemote>,
): Promise<{ key: string; found: boolean } | undefined> {
  const { cache } = job.config;
  const key =
    cache === undefined
      ? ""
      : JSON.stringify([
          options.env["KWS_SERVICE"],
          cache.paths,
          await options.sources.fingerprint(cache.key),
        ]);
  const found = cache !== undefined && (await options.caches.has(key));
  if (await unpackSources(remote, await options.sources.open(), signal)) {
    for (const id of ancestors(job.id, options.plan)) {
      if (results.get(id)?.artifacts !== true) continue;
      await unpack(remote, options.artifacts.read(artifactsKey(options.run, id)), signal);
    }
    if (found) await unpack(remote, options.caches.read(key), signal);
    await release(remote, signal);
    if (cache !== undefined) await log(found ? "the cache was found\n" : "there is no such cache yet\n");
  }
  return cache === undefined ? undefined : { key, found };
}

/** All jobs that a job needs, also through others, the earliest first. */
export function ancestors(id: string, { jobs }: Plan): string[] {
  const found = new Set<string>([id]);
  for (const job of jobs.toReversed()) if (found.has(job.id)) for (const need of job.needs) found.add(need);
  return jobs.map((job) => job.id).filter((one) => one !== id && found.has(one));
}

interface Ended {
  exitCode: number;
  reason: string;
}

/** Reads its output until it has ended, and what it ended with. */
async function follow(
  context: JobContext,
  { clock }: StepOptions,
  name: string,
  timeoutMs: number,
): Promise<Ended | "timeout"> {
  const { view, signal } = context;
  const began = clock();
  const stopped = new AbortController();
  const reading = readOutput(context, name, AbortSignal.any([signal, stopped.signal])).catch(
    (error: unknown) => (stopped.signal.aborted || signal.aborted ? undefined : error),
  );
  let late: NodeJS.Timeout | undefined;
  try {
    const end = await view.until((): Ended | "timeout" | undefined => {
      const pod = podOf(context, name);
      const ended = pod === undefined ? { exitCode: -1, reason: "its pod was removed" } : endOf(pod);
      return ended ?? (clock() - began > timeoutMs ? "timeout" : undefined);
    }, signal);
    late = setTimeout(() => stopped.abort(), end === "timeout" ? 0 : outputMs);
    const fault = await reading;
    if (fault instanceof Error) throw fault;
    return end;
  } finally {
    clearTimeout(late);
    stopped.abort();
    await reading;
  }
}

async function readOutput(
  { connection, namespace, log }: JobContext,
  pod: string,
  signal: AbortSignal,
): Promise<void> {
  const query = new URLSearchParams({ container: stepContainer, follow: "true" });
  const response = await connection.transport.request({
    method: "GET",
    path: `${pathOf(pods, namespace, pod, "log")}?${query.toString()}`,
    headers: { accept: "*/*" },
    signal,
  });
  if (response.status !== 200) {
    throw new UserError(`the output of ${pod} cannot be read: HTTP ${response.status}`);
  }
  for await (const chunk of response.body) await log(chunk);
}

function podOf({ view }: JobContext, name: string): KubeObject | undefined {
  return view.objects().pods.find(({ metadata }) => metadata.name === name);
}

function endOf(pod: KubeObject): Ended | undefined {
  const ended = stateOf(pod, stepContainer)?.terminated;
  if (ended !== undefined) return { exitCode: ended.exitCode, reason: ended.reason ?? "Error" };
  const { phase, reason = "Failed" } = (pod["status"] ?? {}) as { phase?: string; reason?: string };
  return phase === "Failed" ? { exitCode: -1, reason } : undefined;
}

function whyOf({ exitCode, reason }: Ended): string {
  if (reason === "OOMKilled") return "it ran out of memory (OOMKilled)";
  return exitCode < 0 ? reason : `exit code ${exitCode}`;
}
