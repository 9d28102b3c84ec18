/**
 * The workflow of a run. What its jobs came to is remembered by the engine's journal, which is the workflow's steps; sources are
 * checked out again where they are missing. The run's end is one transaction, and comes to the same when done again.
 */
import { rm } from "node:fs/promises";
import { messageOf, UserError } from "@kws/base/errors";
import { HandedOver } from "@kws/platform/pipeline/place";
import type { RunResult } from "@kws/platform/pipeline/run";
import type { ServerContext } from "../context.ts";
import { publish } from "../events/publish.ts";
import { defineWorkflow, handedOver } from "../workflows/workflow.ts";
import { execute } from "./execute.ts";
import { sourceFolder } from "./folders.ts";
import { notifyOfRun } from "./notify.ts";
import { persist } from "./persist.ts";
import { dispatch, lockQueue } from "./queue.ts";
import { findRun, hasEnded, type RunRow, saveResult } from "./store.ts";
import { watchRun } from "./watch.ts";

export const pipelineRun = defineWorkflow<{ id: string }>({
  name: "pipeline.run",
  async run(ctx, { id }, step) {
    const run = await persist(ctx, (trx) => findRun(trx, id));
    if (hasEnded(run)) return;
    await using watch = watchRun(ctx, id);
    const stopping = new AbortController();
    const stop = () => stopping.abort(new HandedOver("the server ends"));
    ctx.signal.addEventListener("abort", stop, { once: true });
    if (ctx.signal.aborted) stop();
    try {
      const outcome = await execute(ctx, run, {
        journal: { step },
        watch,
        signal: AbortSignal.any([stopping.signal, watch.signal]),
      }).then(
        (result) => ({ result }),
        (error: unknown) => ({ error }),
      );
      if ("error" in outcome && ctx.signal.aborted) return await handedOver();
      await finish(ctx, run, outcome);
    } finally {
      ctx.signal.removeEventListener("abort", stop);
    }
  },
});

type Outcome = { result: RunResult } | { error: unknown };

async function finish(ctx: ServerContext, run: RunRow, outcome: Outcome): Promise<void> {
  const { log, now, workflows } = ctx;
  const { id } = run;
  const failure = "error" in outcome ? outcome.error : undefined;
  await persist(ctx, async (trx) => {
    await lockQueue(trx);
    const current = await findRun(trx, id);
    if (hasEnded(current)) return;
    if (failure !== undefined && current.ending === null && !(failure instanceof UserError)) {
      log.error("a run was given up", { run: id, error: failure instanceof Error ? failure.stack : failure });
    }
    if ("result" in outcome) for (const job of outcome.result.jobs) await saveResult(trx, run, job);
    await trx
      .updateTable("run_jobs")
      .set({ state: "skipped", why: "the run was ended" })
      .where("run", "=", id)
      .where("state", "in", ["pending", "waiting", "running"])
      .execute();
    const passed = "result" in outcome && outcome.result.outcome === "passed";
    // Whoever asked for its end when it was over came too late.
    const state = passed ? "succeeded" : failure === undefined ? "failed" : (current.ending ?? "failed");
    const problem = failure === undefined ? null : (current.problem ?? messageOf(failure));
    await trx.updateTable("runs").set({ state, problem, ended_at: now() }).where("id", "=", id).execute();
    await notifyOfRun(ctx, trx, id, state);
    await dispatch(trx, ctx);
    await publish(trx, { kind: "run.ended", subject: id, data: { state } });
  });
  workflows.wake();
  await rm(sourceFolder(ctx, id), { recursive: true, force: true });
}
