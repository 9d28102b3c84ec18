/** From something that happened in a repository to runs in the queue: which services it is for, and what their pipelines are to do. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { type Plan, planPipeline } from "@kws/platform/pipeline/plan";
import type { PipelineEvent, Trigger } from "@kws/platform/pipeline/when";
import { suggest } from "@kws/platform/project/nearest";
import type { ProjectService } from "@kws/platform/project/workspace";
import type { ServerContext } from "../context.ts";
import { publish } from "../events/publish.ts";
import type { ForgeEvent } from "../webhooks/in/event.ts";
import { dispatch, lockQueue, refuseFull } from "./queue.ts";
import {
  changedPaths,
  checkOut,
  openSource,
  resolveCommit,
  type Revision,
  type SourceRepository,
} from "./source.ts";
import { insertRun, supersede } from "./store.ts";

export interface RunRequest extends Revision {
  /** The same one makes no second run. */
  key: string;
  repository: SourceRepository & { team: string };
  event: PipelineEvent;
  /** All that have changed unless given. */
  services?: string[] | undefined;
  requestedBy: string;
}

/**
 * What a forge or polling says of a repository that the server has; `key` names what was said. Gives the runs' names. A fork's pull
 * request starts none: its author may be anybody.
 */
export async function startRuns(
  ctx: ServerContext,
  { key, repository: id, event }: { key: string; repository: string; event: ForgeEvent },
): Promise<string[]> {
  const repository = await ctx.db
    .selectFrom("repositories")
    .select(["id", "name", "url", "branch", "team"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (repository === undefined || event.commit === undefined) return [];
  if (event.type === "pull-request" && (event.fork || event.action === "closed")) return [];
  const { commit, author: requestedBy, type } = event;
  const ref = event.type === "tag" ? { tag: event.tag } : { branch: event.branch };
  return createRuns(ctx, { key, repository, event: type, commit, requestedBy, ...ref });
}

interface Planned extends Plan {
  id: string;
  service: string;
  changed: string[] | undefined;
}

/** Gives the runs' names, also of those that were made for the same key before. */
export async function createRuns(ctx: ServerContext, request: RunRequest): Promise<string[]> {
  const { repository, event, branch, tag } = request;
  const commit = await resolveCommit(repository, request, ctx);
  await using work = await tempDir("kws-trigger");
  const folder = join(work.path, repository.name);
  await checkOut(repository, commit, folder, ctx);
  const { own } = await openSource(folder, ctx);
  const runs: Planned[] = [];
  for (const service of chosen(own, request.services)) {
    const changed = await changedSince(ctx, request, service, commit);
    if (request.services === undefined && event !== "manual" && changed?.length === 0) continue;
    const trigger: Trigger = {
      event,
      ...(branch === undefined ? {} : { branch }),
      ...(tag === undefined ? {} : { tag }),
      ...(changed === undefined ? {} : { changed }),
    };
    const { pipeline, jobs } = planPipeline(service, trigger);
    // The folder is gone by the time that somebody reads it.
    const told = jobs.map((job) => Object.assign(job, { at: job.at.replace(`${folder}/`, "") }));
    const id = runName(service.name, request.key);
    runs.push({ id, service: service.name, changed, pipeline, jobs: told });
  }
  const { workflows } = ctx;
  await ctx.db.transaction().execute(async (trx) => {
    await lockQueue(trx);
    await refuseFull(trx, ctx);
    for (const { id, service, changed, pipeline, jobs } of runs) {
      const added = await insertRun(trx, {
        id,
        repository_id: repository.id,
        repository: repository.name,
        service,
        commit,
        branch: branch ?? null,
        tag: tag ?? null,
        event,
        changed: changed === undefined ? null : JSON.stringify(changed),
        team: repository.team,
        requested_by: request.requestedBy,
        state: "queued",
        plan: JSON.stringify(jobs),
      });
      if (!added) continue;
      if (pipeline.concurrency === "newest" && branch !== undefined) await supersede(trx, ctx, id);
      await publish(trx, { kind: "run.queued", subject: id, data: { service, repository: repository.name } });
    }
    await dispatch(trx, ctx);
  });
  workflows.wake();
  return runs.map(({ id }) => id);
}

function chosen(own: ProjectService[], names: string[] | undefined): ProjectService[] {
  if (names === undefined) return own;
  return names.map((name) => {
    const found = own.find((one) => one.name === name);
    if (found !== undefined) return found;
    const known = own.map((one) => one.name);
    throw new UserError(`the repository holds no service "${name}"`, {
      code: "not-found",
      fix: suggest(name, known, `It has ${known.join(", ")}.`),
    });
  });
}

/** Since the last run of the branch that succeeded; undefined where there was none. */
async function changedSince(
  ctx: ServerContext,
  { repository, branch }: RunRequest,
  service: ProjectService,
  commit: string,
): Promise<string[] | undefined> {
  if (branch === undefined) return undefined;
  const last = await ctx.db
    .selectFrom("runs")
    .select("commit")
    .where("repository_id", "=", repository.id)
    .where("service", "=", service.name)
    .where("branch", "=", branch)
    .where("state", "=", "succeeded")
    .orderBy("number", "desc")
    .executeTakeFirst();
  return last === undefined ? undefined : changedPaths(service.dir, last.commit, commit, ctx);
}

/** Part of the names of Kubernetes objects. */
export function runName(service: string, key: string): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([service, key]))
    .digest("hex");
  return `${service.slice(0, 30).replace(/-+$/, "")}-${hash.slice(0, 9)}`;
}
