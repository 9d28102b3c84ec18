/** The workflow that brings a repository's mirror up to date and records which services its branch holds. */
import type { RepositoryService } from "@kws/api/repositories";
import { messageOf, UserError } from "@kws/base/errors";
import { run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { gitEnv, safe } from "@kws/platform/project/git";
import { discover } from "@kws/platform/project/discover";
import type { ServerContext } from "../context.ts";
import { publish } from "../events/publish.ts";
import { defineWorkflow } from "../workflows/workflow.ts";
import { fetchMirror, mirrorFolder } from "./mirror.ts";

export const syncRepository = defineWorkflow<{ id: string }>({
  name: "repository.sync",
  async run(ctx, { id }, step) {
    const outcome = await step("fetch", () => outcomeOf(() => fetch(ctx, id)));
    if (outcome.problem !== undefined)
      return step("fail", () => finish(ctx, id, { problem: outcome.problem }));
    const { commit } = outcome.result;
    const found = await step("services", () => outcomeOf(() => servicesAt(ctx, id, commit)));
    const services = found.result ?? [];
    await step("record", () => finish(ctx, id, { commit, services, problem: found.problem }));
  },
});

type Outcome<T> = { result: T; problem?: undefined } | { result?: undefined; problem: string };

/** What people can mend is a result; anything else ends the workflow, and so does the server's own end. */
async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { result: await work() };
  } catch (error) {
    if (error instanceof UserError) return { problem: messageOf(error) };
    throw error;
  }
}

async function fetch(ctx: ServerContext, id: string): Promise<{ commit: string }> {
  const row = await ctx.db
    .selectFrom("repositories")
    .select(["id", "url", "branch"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) throw new UserError("it was removed");
  return { commit: await fetchMirror(row, ctx) };
}

async function servicesAt(ctx: ServerContext, id: string, commit: string): Promise<RepositoryService[]> {
  await using work = await tempDir("kws-sync");
  const settings = { env: gitEnv(ctx.env), signal: ctx.signal };
  const mirror = mirrorFolder(ctx.cache, id);
  await run(
    "git",
    [...safe, "clone", "--quiet", "--shared", "--no-checkout", "--", mirror, work.path],
    settings,
  );
  await run("git", [...safe, "-C", work.path, "checkout", "--quiet", "--detach", commit], settings);
  return (await discover(work.path)).map(({ name, path }) => ({ name, path }));
}

async function finish(
  { db, now }: ServerContext,
  id: string,
  {
    commit,
    services,
    problem,
  }: { commit?: string; services?: RepositoryService[]; problem?: string | undefined },
): Promise<void> {
  const state = problem === undefined ? "synced" : "failed";
  await db.transaction().execute(async (trx) => {
    const row = await trx
      .updateTable("repositories")
      .set({
        state,
        problem: problem ?? null,
        synced_at: now(),
        ...(commit === undefined ? {} : { commit }),
        ...(services === undefined ? {} : { services: JSON.stringify(services) }),
      })
      .where("id", "=", id)
      .returning("name")
      .executeTakeFirst();
    // It was removed in the meantime.
    if (row === undefined) return;
    await publish(trx, { kind: `repository.${state}`, subject: id, data: { name: row.name } });
  });
}
