/** What people and forges are told of a run: that it has begun, and how it ended. */
import type { Transaction } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";
import { notify } from "../webhooks/out/notify.ts";
import type { Notification } from "../webhooks/out/notification.ts";

type Told = "running" | "succeeded" | "failed" | "cancelled" | "superseded";

const summaries: Record<Told, string> = {
  running: "has begun to run",
  succeeded: "passed",
  failed: "failed",
  cancelled: "was cancelled",
  superseded: "was superseded by a newer run",
};

/** Once for each state, in the transaction that brings the run to it. */
export async function notifyOfRun(
  ctx: Pick<ServerContext, "workflows" | "keys" | "now">,
  trx: Transaction<Tables>,
  id: string,
  state: Told,
): Promise<void> {
  const run = await trx
    .selectFrom("runs")
    .leftJoin("repositories", "repositories.id", "runs.repository_id")
    .selectAll("runs")
    .select("repositories.url")
    .where("runs.id", "=", id)
    .executeTakeFirstOrThrow();
  const { service, repository, branch, tag, commit, requested_by: author, problem, url } = run;
  const type = state === "running" ? "run.started" : `run.${state}`;
  const outcome = outcomeOf(state);
  const notification: Notification = {
    id: `${id}-${state}`,
    type,
    time: ctx.now().toISOString(),
    outcome,
    values: {
      type,
      outcome,
      service,
      repository,
      branch: branch ?? tag ?? "",
      commit,
      author,
      run: id,
      summary: problem === null ? summaries[state] : `${summaries[state]}: ${problem}`,
    },
    ...(url === null ? {} : { repositoryUrl: url }),
  };
  // A problem's text has no secret in it: what jobs print is masked before it gets there.
  await notify(ctx, trx, notification, []);
}

function outcomeOf(state: Told): Notification["outcome"] {
  return state === "cancelled" || state === "superseded" ? "canceled" : state;
}
