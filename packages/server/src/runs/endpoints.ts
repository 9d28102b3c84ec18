/** What the API answers about runs. */
import { randomUUID } from "node:crypto";
import * as api from "@kws/api/runs";
import { UserError } from "@kws/base/errors";
import { readLog } from "@kws/platform/pipeline/logs/read";
import { suggest } from "@kws/platform/project/nearest";
import type { Selectable, Transaction } from "kysely";
import { record } from "../audit/record.ts";
import type { ServerContext } from "../context.ts";
import type { Database } from "../database/open.ts";
import type { KeptResult, Tables } from "../database/schema.ts";
import { publish } from "../events/publish.ts";
import { endpoint, type Endpoint, streaming } from "../http/handlers.ts";
import { cursorKey, pageLimit, toPage } from "../http/page.ts";
import { runFiles } from "./folders.ts";
import { dispatch, lockQueue, refuseFull } from "./queue.ts";
import { endRun, findRun, hasEnded, insertRun, keptJobs, type RunRow } from "./store.ts";
import { createRuns, runName } from "./trigger.ts";

const usualLines = 200;

export const runEndpoints: readonly Endpoint[] = [
  endpoint(api.startRuns, async ({ body, actor, authorise }, ctx) => {
    const repository = await ctx.db
      .selectFrom("repositories")
      .select(["id", "name", "url", "branch", "team", "services"])
      .where("name", "=", body.repository)
      .executeTakeFirst();
    if (repository === undefined) {
      throw new UserError(`there is no repository "${body.repository}"`, {
        code: "not-found",
        fix: "`kws server repository list` shows those there are.",
      });
    }
    const { services, tag, commit } = body;
    const named = services ?? repository.services.map(({ name }) => name);
    // What it holds is not known before it is synced.
    if (named.length === 0) authorise({});
    for (const service of named) authorise({ service });
    // A commit alone is of no branch.
    const branch = body.branch ?? (tag === undefined && commit === undefined ? repository.branch : undefined);
    const ids = await createRuns(ctx, {
      key: randomUUID(),
      repository,
      event: "manual",
      services,
      branch,
      tag,
      commit,
      requestedBy: actor.name,
    });
    await ctx.db
      .transaction()
      .execute((trx) =>
        record(trx, { actor, action: "run.start", subject: repository.name, after: { runs: ids } }),
      );
    const runs = await ctx.db
      .selectFrom("runs")
      .selectAll()
      .where("id", "in", ["", ...ids])
      .orderBy("number")
      .execute();
    return { items: runs.map(toRun) };
  }),

  endpoint(api.listRuns, async ({ query }, { db }) => {
    const { limit, cursor, repository, service, branch, team, state } = query;
    let rows = db.selectFrom("runs").selectAll().orderBy("number", "desc").limit(pageLimit(limit));
    if (repository !== undefined) rows = rows.where("repository", "=", repository);
    if (service !== undefined) rows = rows.where("service", "=", service);
    if (branch !== undefined) rows = rows.where("branch", "=", branch);
    if (team !== undefined) rows = rows.where("team", "=", team);
    if (state !== undefined) rows = rows.where("state", "=", state);
    if (cursor !== undefined) rows = rows.where("number", "<", String(numberOf(cursor)));
    return toPage(await rows.execute(), limit, ({ number }) => number, toRun);
  }),

  endpoint(api.getRun, async ({ params }, { db }) => detail(db, params.run)),

  endpoint(api.cancelRun, async ({ params, body: { why }, actor, authorise }, ctx) => {
    const ended = await ctx.db.transaction().execute(async (trx) => {
      const run = await lock(trx, params.run);
      authorise({ service: run.service });
      if (hasEnded(run)) {
        throw new UserError(`the run ${run.id} has ended already: ${run.state}`, { code: "conflict" });
      }
      await record(trx, {
        actor,
        action: "run.cancel",
        subject: run.id,
        ...(why === undefined ? {} : { why }),
      });
      if (run.ending === null) {
        const problem = `${actor.name} cancelled it${why === undefined ? "" : `: ${why}`}`;
        await endRun(trx, ctx, run, "cancelled", problem);
      }
      return findRun(trx, run.id);
    });
    return toRun(ended);
  }),

  endpoint(api.retryRun, async ({ params, body: { from }, actor, authorise }, ctx) => {
    const retried = await ctx.db.transaction().execute(async (trx) => {
      const run = await lock(trx, params.run);
      authorise({ service: run.service });
      if (!hasEnded(run)) {
        throw new UserError(`the run ${run.id} has not ended`, {
          code: "conflict",
          fix: "Wait for its end, or cancel it.",
        });
      }
      await refuseFull(trx, ctx);
      const kept = from === undefined ? [] : await keptResults(trx, run, from);
      const id = runName(run.service, randomUUID());
      await insertRun(trx, {
        id,
        repository_id: run.repository_id,
        repository: run.repository,
        service: run.service,
        commit: run.commit,
        branch: run.branch,
        tag: run.tag,
        event: run.event,
        changed: run.changed === null ? null : JSON.stringify(run.changed),
        team: run.team,
        requested_by: actor.name,
        state: "queued",
        retry_of: run.id,
        plan: JSON.stringify(run.plan),
        kept: JSON.stringify(kept),
      });
      await record(trx, { actor, action: "run.retry", subject: run.id, after: { run: id, from } });
      await publish(trx, { kind: "run.queued", subject: id, data: { service: run.service } });
      await dispatch(trx, ctx);
      return findRun(trx, id);
    });
    ctx.workflows.wake();
    return toRun(retried);
  }),

  endpoint(api.decideRun, async ({ params, body: { approved, why }, actor, authorise }, { db }) => {
    await db.transaction().execute(async (trx) => {
      const run = await lock(trx, params.run);
      authorise({ service: run.service });
      const job = await findJob(trx, run, params.job);
      if (job.state !== "waiting") {
        throw new UserError(`the step ${job.title} does not wait for approval: it is ${job.state}`, {
          code: "conflict",
        });
      }
      const added = await trx
        .insertInto("approvals")
        .values({ run: run.id, job: job.job, approved, by: actor.name, why: why ?? null })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      if (added.numInsertedOrUpdatedRows === 0n) {
        throw new UserError(`somebody has decided about the step ${job.title} already`, { code: "conflict" });
      }
      const action = approved ? "run.approve" : "run.reject";
      const subject = `${run.id}/${job.job}`;
      await record(trx, { actor, action, subject, ...(why === undefined ? {} : { why }) });
      await publish(trx, { kind: "run.decided", subject: run.id, data: { job: job.job, approved } });
    });
    return detail(db, params.run);
  }),

  endpoint(api.readRunLog, async ({ params, query }, ctx) => {
    const { limit = usualLines, cursor, grep } = query;
    const folder = await logFolder(ctx, params);
    const from = cursor === undefined ? 0 : numberOf(cursor) + 1;
    const lines = await Array.fromAsync(
      readLog(folder, { from, limit: pageLimit(limit), ...(grep === undefined ? {} : { grep }) }),
    );
    return toPage(lines, limit, ({ line }) => String(line), toLine);
  }),

  streaming(api.streamRunLog, async function* ({ params, query: { grep }, after, signal }, ctx) {
    const folder = await logFolder(ctx, params);
    const ended = new AbortController();
    // A step that never began has no end of its own.
    const watching = untilEnded(ctx, params.run, AbortSignal.any([signal, ended.signal])).then(
      () => ended.abort(),
      () => ended.abort(),
    );
    try {
      const stop = AbortSignal.any([signal, ended.signal]);
      const from = after === undefined ? 0 : numberAfter(after);
      const options = { from, follow: true, signal: stop, ...(grep === undefined ? {} : { grep }) };
      for await (const line of readLog(folder, options)) yield { id: String(line.line), item: toLine(line) };
      if (!signal.aborted) yield { id: after ?? "", item: { ended: true as const } };
    } finally {
      ended.abort();
      await watching;
    }
  }),
];

/** Nobody else changes it before the transaction's end. */
async function lock(trx: Transaction<Tables>, id: string): Promise<RunRow> {
  await lockQueue(trx);
  return findRun(trx, id);
}

async function findJob(db: Database | Transaction<Tables>, run: RunRow, job: string) {
  const rows = await db.selectFrom("run_jobs").selectAll().where("run", "=", run.id).execute();
  const found = rows.find((row) => row.job === job);
  if (found !== undefined) return found;
  throw new UserError(`the run ${run.id} has no step "${job}"`, {
    code: "not-found",
    fix: suggest(
      job,
      rows.map((row) => row.job),
      "See `kws pipeline show`.",
    ),
  });
}

async function logFolder(ctx: ServerContext, { run, job }: { run: string; job: string }): Promise<string> {
  const { job: found } = await findJob(ctx.db, await findRun(ctx.db, run), job);
  return runFiles(ctx).logFolder(run, found);
}

/** Also where the run is removed. */
async function untilEnded({ db, feed }: ServerContext, id: string, signal: AbortSignal): Promise<void> {
  if (hasEnded(await findRun(db, id))) return;
  for await (const event of feed.read("0", { subject: id, kind: "run." }, signal))
    if (event === undefined ? hasEnded(await findRun(db, id)) : event.kind === "run.ended") return;
}

async function keptResults(trx: Transaction<Tables>, run: RunRow, from: string): Promise<KeptResult[]> {
  if (!run.plan.some(({ id, step }) => id === from || step === from)) await findJob(trx, run, from);
  const rows = await trx
    .selectFrom("run_jobs")
    .select(["job", "result"])
    .where("run", "=", run.id)
    .where("state", "=", "passed")
    .execute();
  const results = new Map(rows.map(({ job, result }) => [job, result]));
  const earlier = new Map(run.kept.map((kept) => [kept.result.job, kept.run]));
  return keptJobs(run.plan, [...results.keys()], from).flatMap((job) => {
    const result = results.get(job) ?? undefined;
    return result === undefined ? [] : [{ run: earlier.get(job) ?? run.id, result }];
  });
}

async function detail(db: Database, id: string): Promise<api.RunDetail> {
  const run = await findRun(db, id);
  const jobs = await db
    .selectFrom("run_jobs")
    .selectAll()
    .where("run", "=", id)
    .orderBy("position")
    .execute();
  const needs = new Map(run.plan.map((job) => [job.id, job.needs]));
  return { ...toRun(run), jobs: jobs.map((job) => toJob(job, needs.get(job.job) ?? [])) };
}

function toJob(row: Selectable<Tables["run_jobs"]>, needs: string[]): api.Job {
  const { job, title, state, why, attempts, started_at: began, duration_ms: durationMs, result } = row;
  return {
    job,
    title,
    needs,
    state,
    attempts,
    outputs: result?.outputs ?? {},
    ...(why === null ? {} : { why }),
    ...(began === null ? {} : { startedAt: began.toISOString() }),
    ...(durationMs === null ? {} : { durationMs }),
    ...(result?.tests === undefined ? {} : { tests: result.tests }),
  };
}

function toRun(row: RunRow): api.Run {
  return {
    run: row.id,
    repository: row.repository,
    service: row.service,
    commit: row.commit,
    event: row.event,
    team: row.team,
    requestedBy: row.requested_by,
    state: row.state,
    createdAt: row.created_at.toISOString(),
    ...(row.branch === null ? {} : { branch: row.branch }),
    ...(row.tag === null ? {} : { tag: row.tag }),
    ...(row.problem === null ? {} : { problem: row.problem }),
    ...(row.retry_of === null ? {} : { retryOf: row.retry_of }),
    ...(row.started_at === null ? {} : { startedAt: row.started_at.toISOString() }),
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
  };
}

function toLine({ line, time, text }: { line: number; time: number; text: string }): api.LogLine {
  return { line, time: new Date(time).toISOString(), text };
}

function numberOf(cursor: string): number {
  const key = cursorKey(cursor);
  if (/^\d{1,15}$/.test(key)) return Number(key);
  throw new UserError("the cursor is not one of this list", { code: "usage" });
}

function numberAfter(id: string): number {
  return /^\d{1,15}$/.test(id) ? Number(id) + 1 : 0;
}
