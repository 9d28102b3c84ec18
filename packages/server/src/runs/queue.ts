/**
 * The queue of runs. Whoever adds one or ends one hands out what is free in the same transaction: to the team that got
 * something the longest ago, and within a team in the order in which runs were asked for.
 */
import { ApiError } from "@kws/api/errors";
import { sql, type Transaction } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";
import { publish } from "../events/publish.ts";
import { notifyOfRun } from "./notify.ts";
import { pipelineRun } from "./run.ts";

const queueLock = 0x6b7771;

/**
 * First in every transaction that changes runs, held to its end: two servers never hand out the same place, and rows and events are
 * locked in one order.
 */
export async function lockQueue(trx: Transaction<Tables>): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${queueLock})`.execute(trx);
}

export type QueueContext = Pick<ServerContext, "config" | "now" | "keys" | "workflows">;

/** Refuses what could not be worked off in any time that people wait. */
export async function refuseFull(trx: Transaction<Tables>, { config }: QueueContext): Promise<void> {
  const { count } = await trx
    .selectFrom("runs")
    .select((select) => select.fn.countAll<string>().as("count"))
    .where("state", "=", "queued")
    .executeTakeFirstOrThrow();
  if (Number(count) < config.maxQueuedRuns) return;
  throw new ApiError("too-many", `${count} runs are queued already`, {
    retryAfter: 30,
    fix: "Try again later, or cancel some of them.",
  });
}

/** Starts as many runs as there is room for. Runs that wait for approval take none. */
export async function dispatch(trx: Transaction<Tables>, ctx: QueueContext): Promise<void> {
  const { config, workflows, now } = ctx;
  for (;;) {
    const next = await nextRun(trx, config);
    if (next === undefined) return;
    await trx
      .updateTable("runs")
      .set({ state: "running", started_at: now() })
      .where("id", "=", next)
      .execute();
    await workflows.start(trx, pipelineRun, `${pipelineRun.name}/${next}`, { id: next });
    await notifyOfRun(ctx, trx, next, "running");
    await publish(trx, { kind: "run.started", subject: next, data: {} });
  }
}

async function nextRun(
  trx: Transaction<Tables>,
  { concurrentRuns, concurrentRunsPerTeam }: ServerContext["config"],
): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    WITH teams AS (
      SELECT team,
             count(*) FILTER (WHERE state = 'running') AS running,
             min(number) FILTER (WHERE state = 'queued') AS first,
             (SELECT max(turn.started_at) FROM runs turn WHERE turn.team = active.team) AS turn
      FROM runs active
      WHERE state IN ('queued', 'running', 'waiting')
      GROUP BY team
    )
    SELECT runs.id
    FROM teams JOIN runs ON runs.number = teams.first
    WHERE teams.running < ${concurrentRunsPerTeam} AND (SELECT sum(running) FROM teams) < ${concurrentRuns}
    ORDER BY teams.turn NULLS FIRST, teams.first
    LIMIT 1`.execute(trx);
  return rows[0]?.id;
}
