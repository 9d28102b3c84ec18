/** What the database knows of runs, and how that changes. Each change is told in the same transaction. */
import type { JobState, RunState } from "@kws/api/runs";
import { UserError } from "@kws/base/errors";
import type { JobResult } from "@kws/platform/pipeline/job";
import type { Job } from "@kws/platform/pipeline/plan";
import type { Insertable, Selectable, Transaction } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Database } from "../database/open.ts";
import type { Tables } from "../database/schema.ts";
import { publish } from "../events/publish.ts";

export type RunRow = Selectable<Tables["runs"]>;

const ended: ReadonlySet<RunState> = new Set(["succeeded", "failed", "cancelled", "superseded"]);

export function hasEnded({ state }: { state: RunState }): boolean {
  return ended.has(state);
}

export async function findRun(db: Database | Transaction<Tables>, id: string): Promise<RunRow> {
  const row = await db.selectFrom("runs").selectAll().where("id", "=", id).executeTakeFirst();
  if (row !== undefined) return row;
  throw new UserError(`the server has no run "${id}"`, {
    code: "not-found",
    fix: "`kws pipeline list` shows those there are.",
  });
}

/** False where there is one of this name already. */
export async function insertRun(trx: Transaction<Tables>, run: Insertable<Tables["runs"]>): Promise<boolean> {
  const added = await trx
    .insertInto("runs")
    .values(run)
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst();
  if (added === undefined) return false;
  const kept = new Map(added.kept.map(({ result }) => [result.job, result]));
  await trx
    .insertInto("run_jobs")
    .values(
      added.plan.map(({ id, title, skip }, position) => {
        const before = kept.get(id);
        const columns =
          before !== undefined
            ? columnsOf(before)
            : skip === undefined
              ? { state: "pending" as const }
              : { state: "skipped" as const, why: skip };
        return Object.assign(columns, { run: added.id, job: id, title, position });
      }),
    )
    .execute();
  return true;
}

function columnsOf(result: JobResult) {
  const { records: _records, ...kept } = result;
  const { outcome, why, attempts, startedAt, durationMs } = kept;
  return {
    state: outcome,
    why: why ?? null,
    attempts,
    started_at: startedAt === undefined ? null : new Date(startedAt),
    duration_ms: durationMs,
    result: JSON.stringify(kept),
  };
}

export async function setJobState(
  trx: Transaction<Tables>,
  { run, job, state }: { run: string; job: string; state: JobState },
  now: Date,
): Promise<void> {
  const set = state === "running" ? { state, started_at: now } : { state };
  await trx.updateTable("run_jobs").set(set).where("run", "=", run).where("job", "=", job).execute();
  await publish(trx, { kind: "run.job", subject: run, data: { job, state } });
}

/** Also when it is told again. */
export async function saveResult(
  trx: Transaction<Tables>,
  { id, service }: RunRow,
  result: JobResult,
): Promise<void> {
  const { job, outcome: state, why, records = [] } = result;
  const changed = await trx
    .updateTable("run_jobs")
    .set(columnsOf(result))
    .where("run", "=", id)
    .where("job", "=", job)
    .where("state", "<>", state)
    .executeTakeFirst();
  if (changed.numUpdatedRows === 0n) return;
  if (records.length > 0) {
    await trx
      .insertInto("test_results")
      .values(
        records.map(({ test, content, outcome, at }) => ({
          run: id,
          job,
          service,
          test,
          content,
          outcome,
          at: new Date(at),
        })),
      )
      .execute();
  }
  await publish(trx, {
    kind: "run.job",
    subject: id,
    data: { job, state, ...(why === undefined ? {} : { why }) },
  });
}

/** Ends one that is queued; tells whoever is at work on it otherwise. */
export async function endRun(
  trx: Transaction<Tables>,
  { now }: Pick<ServerContext, "now">,
  run: RunRow,
  ending: "cancelled" | "superseded",
  problem: string,
): Promise<void> {
  if (run.state === "queued") {
    await trx
      .updateTable("runs")
      .set({ state: ending, problem, ended_at: now() })
      .where("id", "=", run.id)
      .execute();
    await publish(trx, { kind: "run.ended", subject: run.id, data: { state: ending } });
    return;
  }
  await trx.updateTable("runs").set({ ending, problem }).where("id", "=", run.id).execute();
  await publish(trx, { kind: "run.cancelling", subject: run.id, data: { ending } });
}

/** Ends the runs of the same branch that are older. */
export async function supersede(
  trx: Transaction<Tables>,
  ctx: Pick<ServerContext, "now">,
  id: string,
): Promise<void> {
  const newest = await findRun(trx, id);
  const older = await trx
    .selectFrom("runs")
    .selectAll()
    .where("repository_id", "=", newest.repository_id)
    .where("service", "=", newest.service)
    .where("branch", "=", newest.branch)
    .where("number", "<", newest.number)
    .where("state", "in", ["queued", "running", "waiting"])
    .where("ending", "is", null)
    .execute();
  for (const run of older) await endRun(trx, ctx, run, "superseded", `${id} is newer`);
}

/** The jobs that are not done again where a pipeline is done again from a step on: they passed, and do not need the step. */
export function keptJobs(plan: readonly Job[], passed: readonly string[], from: string): string[] {
  const again = new Set<string>();
  for (const { id, step, needs } of plan)
    if (id === from || step === from || needs.some((need) => again.has(need))) again.add(id);
  // Datastores went with the namespace of the run that was.
  const place = new Set(plan.filter(({ uses }) => uses === "datastores").map(({ id }) => id));
  return passed.filter((job) => !again.has(job) && !place.has(job));
}
