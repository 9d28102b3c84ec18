/** One run on the cluster: the engine of pipelines with what a server gives it. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { Steps } from "@kws/base/steps";
import { openSubject } from "@kws/platform/analysis/subject";
import { openPackageStore } from "@kws/platform/packages/store";
import { blobFolder, type Blobs, pruneBlobs } from "@kws/platform/pipeline/blobs";
import { type Offer, openBuiltins } from "@kws/platform/pipeline/builtins";
import { openLog } from "@kws/platform/pipeline/logs/store";
import type { JobResult } from "@kws/platform/pipeline/job";
import { sweepRuns } from "@kws/platform/pipeline/place";
import type { Job, Plan } from "@kws/platform/pipeline/plan";
import { type Journal, runPipeline, type RunResult } from "@kws/platform/pipeline/run";
import { openSecrets } from "@kws/platform/pipeline/secrets";
import { sourcesOf } from "@kws/platform/pipeline/source";
import { artifactsKey } from "@kws/platform/pipeline/step";
import type { Trigger } from "@kws/platform/pipeline/when";
import { loadUserConfig, type ProjectService } from "@kws/platform/project/workspace";
import { chooseProvider } from "@kws/platform/providers/choose";
import { connect, type Provider } from "@kws/platform/providers/provider";
import { secretOpener } from "@kws/platform/secrets/open";
import { locateTool } from "@kws/platform/tools/locate";
import type { ServerContext } from "../context.ts";
import { publish } from "../events/publish.ts";
import { runFiles, sourceFolder } from "./folders.ts";
import { persist } from "./persist.ts";
import { dispatch, lockQueue } from "./queue.ts";
import { checkOut, openSource } from "./source.ts";
import { hasEnded, type RunRow, saveResult, setJobState } from "./store.ts";
import type { Watch } from "./watch.ts";

export interface ExecuteOptions {
  journal: Journal;
  watch: Watch;
  signal: AbortSignal;
}

/** For pods to start. */
const startMs = 300_000;
const parallelJobs = 4;

export async function execute(
  ctx: ServerContext,
  run: RunRow,
  { journal, watch, signal }: ExecuteOptions,
): Promise<RunResult> {
  const { locations, home, holder, env, log } = ctx;
  const { cache } = locations;
  const clock = () => ctx.now().getTime();
  const now = () => performance.now();
  const { project, services, service } = await sourceOf(ctx, run, signal);
  const plan = await planOf(ctx, run, service);
  const decrypt = secretOpener({ env, home, cwd: project.root, clock }, signal);
  const secrets = await openSecrets(plan, service, { decrypt });
  const [helm, kubectl] = await Promise.all(
    (["helm", "kubectl"] as const).map((name) => locateTool(name, { env, cache, signal })),
  );
  if (helm === undefined || kubectl === undefined) throw new Error("a tool that was located is undefined");
  const user = await loadUserConfig(locations.config);
  const provider = await providerOf(ctx, user.cluster ?? {});
  await provider.start({ signal });
  const connection = await connect(provider, log);
  const recorder = recordJobs(ctx, run);
  try {
    const files = runFiles(ctx);
    const caches = join(cache, "pipeline");
    const ended = async (id: string) => {
      const found = await ctx.db.selectFrom("runs").select("state").where("id", "=", id).executeTakeFirst();
      return found !== undefined && hasEnded(found);
    };
    await sweepRuns({ client: connection.client, holder, clock, signal, ended });
    await Promise.all([files.prune(clock()), pruneBlobs(caches, clock())]);
    const steps = new Steps({ now, onEvent: ({ kind, id }) => kind === "start" && recorder.began(id) });
    const shared = {
      helm: helm.path,
      kubectl: kubectl.path,
      childEnv: env,
      cache,
      log,
      steps,
      now,
      clock,
      holder,
    };
    const registry = ctx.config.registry ?? project.workspace.registry;
    const builtins = openBuiltins({
      ...shared,
      plan,
      project,
      service,
      services,
      provider,
      builder: provider,
      store: await openPackageStore(locations.data),
      ...(registry === undefined ? {} : { registry }),
      push: true,
      notify: () => Promise.resolve("people are told when the run has ended"),
      candidate: (offer) => offerCandidate(ctx, run, offer),
      subject: (until) =>
        openSubject({
          env,
          home,
          cwd: project.root,
          locations,
          file: project.file.path,
          chosen: [service.name],
          clock,
          signal: until,
          provider: () => Promise.resolve(provider),
          connect: () => Promise.resolve(connection),
        }),
      startMs,
    });
    return await runPipeline({
      ...shared,
      id: run.id,
      plan,
      trigger: triggerOf(run),
      service,
      commit: run.commit,
      connection,
      builtins,
      journal: recording(journal, run.kept, recorder.ended),
      openLog: (job) => openLog(files.logFolder(run.id, job.id), { clock, anew: true }),
      approve: (job) => approve(ctx, run, job, watch, signal),
      secrets,
      sources: sourcesOf(service, join(sourceFolder(ctx, run.id), "source.tar"), { env, signal }),
      artifacts: artifactsOf(run, (id) => blobFolder(join(files.folder(id), "artifacts"))),
      caches: blobFolder(caches),
      startMs,
      parallel: parallelJobs,
      keepOnFailure: false,
      resumable: true,
      signal,
    });
  } finally {
    // What was not written is written with the run's end.
    await recorder.written().catch(() => undefined);
    connection.close();
  }
}

async function sourceOf(ctx: ServerContext, run: RunRow, signal: AbortSignal) {
  const repository = await ctx.db
    .selectFrom("repositories")
    .select(["id", "name", "url", "branch"])
    .where("id", "=", run.repository_id)
    .executeTakeFirst();
  if (repository === undefined) throw new UserError(`the repository ${run.repository} was removed`);
  const folder = join(sourceFolder(ctx, run.id), repository.name);
  const settings = { cache: ctx.cache, env: ctx.env, signal };
  await checkOut(repository, run.commit, folder, settings);
  const { project, services, own } = await openSource(folder, settings);
  const service = own.find(({ name }) => name === run.service);
  if (service === undefined) throw new Error(`${run.service} is not in ${run.commit}`);
  return { project, services, service };
}

/** As it was planned, with the tests that are in quarantine by now. */
async function planOf({ db }: ServerContext, run: RunRow, service: ProjectService): Promise<Plan> {
  const rows = await db.selectFrom("quarantine").select("test").where("service", "=", run.service).execute();
  const { pipeline = {} } = service.config;
  const quarantine = [...(pipeline.quarantine ?? []), ...rows.map(({ test }) => test)];
  return { pipeline: { ...pipeline, quarantine }, jobs: run.plan };
}

function triggerOf({ event, branch, tag, changed }: RunRow): Trigger {
  return {
    event,
    ...(branch === null ? {} : { branch }),
    ...(tag === null ? {} : { tag }),
    ...(changed === null ? {} : { changed }),
  };
}

function providerOf(
  { config: { kubeconfig }, locations, env, home }: ServerContext,
  user: Parameters<typeof chooseProvider>[0]["user"],
): Promise<Provider> {
  return chooseProvider({
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    // A repository does not choose what the server works on.
    workspace: {},
    user,
    data: locations.data,
    userConfig: `${locations.config}/config.yaml`,
    env,
    home,
  });
}

/** An event, once for a run: promotion takes it from there. */
async function offerCandidate(
  ctx: ServerContext,
  { id }: RunRow,
  { service, results }: Offer,
): Promise<string> {
  const made = results.find(({ outputs }) => outputs["package"] !== undefined)?.outputs;
  if (made === undefined) return "there is no package to offer";
  const kind = "candidate.offered";
  await persist(ctx, async (trx) => {
    await lockQueue(trx);
    const before = await trx
      .selectFrom("events")
      .select("id")
      .where("subject", "=", id)
      .where("kind", "=", kind)
      .executeTakeFirst();
    if (before !== undefined) return;
    const data = { service, package: made["package"], version: made["version"] };
    await publish(trx, { kind, subject: id, data });
  });
  return `offered ${made["version"]}`;
}

/** Writes what jobs come to, one after the other. */
function recordJobs(ctx: ServerContext, run: RunRow) {
  const ids = new Set(run.plan.map(({ id }) => id));
  let last: Promise<void> = Promise.resolve();
  const inTurn = (work: Parameters<typeof persist<void>>[1]): Promise<void> => {
    const done = last.then(() => persist(ctx, work));
    // Whoever waits for the last one is told.
    done.catch(() => undefined);
    last = done;
    return done;
  };
  return {
    began(job: string) {
      // A step of a step has another name.
      if (ids.has(job))
        void inTurn((trx) => setJobState(trx, { run: run.id, job, state: "running" }, ctx.now()));
    },
    ended: (result: JobResult) => inTurn((trx) => saveResult(trx, run, result)),
    written: () => last,
  };
}

/** What is kept of runs before comes first; then the journal's own. */
function recording(
  journal: Journal,
  kept: RunRow["kept"],
  ended: (result: JobResult) => Promise<void>,
): Journal {
  const rest = [...kept];
  return {
    step<T>(name: string, work: () => Promise<T>): Promise<T> {
      const before = rest.shift();
      // Every step of a run gives a job's result.
      if (before !== undefined) return Promise.resolve(before.result as T);
      return journal.step(name, async () => {
        const result = await work();
        await ended(result as JobResult);
        return result;
      });
    },
  };
}

/** Those of jobs that are kept are with the runs that made them. */
function artifactsOf({ id, kept }: RunRow, open: (run: string) => Blobs): Blobs {
  const origins = new Map(
    kept.map(({ run, result: { job } }) => [
      artifactsKey(id, job),
      { blobs: open(run), key: artifactsKey(run, job) },
    ]),
  );
  const own = open(id);
  const of = (key: string) => origins.get(key) ?? { blobs: own, key };
  return {
    has: (key) => of(key).blobs.has(of(key).key),
    read: (key) => of(key).blobs.read(of(key).key),
    write: (key, from, check) => own.write(key, from, check),
  };
}

/** While it waits, the run takes nobody's place. */
async function approve(
  ctx: ServerContext,
  run: RunRow,
  job: Job,
  watch: Watch,
  signal: AbortSignal,
): Promise<void> {
  const set = (state: "waiting" | "running") =>
    persist(ctx, async (trx) => {
      await lockQueue(trx);
      await trx
        .updateTable("runs")
        .set({ state })
        .where("id", "=", run.id)
        .where("state", "in", ["running", "waiting"])
        .execute();
      if (state === "waiting") await dispatch(trx, ctx);
      await setJobState(trx, { run: run.id, job: job.id, state }, ctx.now());
    });
  await set("waiting");
  ctx.workflows.wake();
  const { approved, by, why } = await watch.decision(job.id, signal);
  if (!approved) throw new UserError(`${by} refused it${why === null ? "" : `: ${why}`}`);
  await set("running");
}
