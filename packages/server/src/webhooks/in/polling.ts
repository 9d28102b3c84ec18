/** Asking repositories for new commits at an interval: rounds of durable work, each of which begins the next. */
import { randomUUID } from "node:crypto";
import { DBOS } from "@dbos-inc/dbos-sdk";
import * as api from "@kws/api/polls";
import { UserError } from "@kws/base/errors";
import type { Transaction } from "kysely";
import { record } from "../../audit/record.ts";
import type { ServerContext } from "../../context.ts";
import type { Tables } from "../../database/schema.ts";
import { endpoint, type Endpoint } from "../../http/handlers.ts";
import { missing } from "../../repositories/endpoints.ts";
import { persist } from "../../runs/persist.ts";
import { defineWorkflow } from "../../workflows/workflow.ts";
import type { PushEvent, TagEvent } from "./event.ts";
import { handleEvents } from "./handle.ts";
import { changes, listRefs, type Refs } from "./poll.ts";

interface PollInput {
  /** Of the row; another one with every change of the interval. */
  id: string;
  round: number;
  everySeconds: number;
}

/** Of one answer of the remote. */
const timeoutMs = 60_000;

/** The first round keeps what there is; those after it tell what moved. */
export const pollRepository = defineWorkflow<PollInput>({
  name: "repository.poll",
  together: 4,
  async run(ctx, input, step) {
    if (input.round > 1) await DBOS.sleepms(input.everySeconds * 1000);
    await step("ask", () => ask(ctx, input));
  },
});

async function ask(ctx: ServerContext, input: PollInput): Promise<void> {
  const { env, now, signal, workflows } = ctx;
  const { id, round } = input;
  const row = await persist(ctx, (trx) =>
    trx
      .selectFrom("repository_polls")
      .innerJoin("repositories", "repositories.id", "repository_polls.repository")
      .select(["repositories.name", "repositories.url", "repository_polls.refs"])
      .where("repository_polls.id", "=", id)
      .executeTakeFirst(),
  );
  // It was removed, or is asked at another interval.
  if (row === undefined) return;
  const { name, url, refs: before } = row;
  const answer = await refsOf(url, { env, signal, timeoutMs });
  await persist(ctx, async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable("repository_polls")
      .set({
        polled_at: now(),
        problem: answer.problem ?? null,
        ...(answer.refs === undefined ? {} : { refs: JSON.stringify(answer.refs) }),
      })
      .where("id", "=", id)
      .executeTakeFirst();
    if (numUpdatedRows === 0n) return;
    const events = eventsOf({ name, url }, before, answer.refs);
    if (events.length > 0) {
      const key = `poll/${id}/${round}`;
      await workflows.start(trx, handleEvents, `${handleEvents.name}/${key}`, { key, events });
    }
    await begin(workflows, trx, { ...input, round: round + 1 });
  });
  workflows.wake();
}

function eventsOf(
  repository: { name: string; url: string },
  before: Refs | null,
  after: Refs | undefined,
): (PushEvent | TagEvent)[] {
  return before === null || after === undefined ? [] : changes(repository, before, after);
}

/** What people can mend is shown with the repository, and asked again with the next round. */
async function refsOf(
  url: string,
  options: Parameters<typeof listRefs>[1],
): Promise<{ refs?: Refs; problem?: string }> {
  try {
    return { refs: await listRefs(url, options) };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof UserError) return { problem: error.message };
    throw error;
  }
}

async function begin(
  workflows: ServerContext["workflows"],
  trx: Transaction<Tables>,
  input: PollInput,
): Promise<void> {
  await workflows.start(trx, pollRepository, `${pollRepository.name}/${input.id}/${input.round}`, input);
}

export const pollEndpoints: readonly Endpoint[] = [
  endpoint(api.setPoll, async ({ params: { name }, body: { everySeconds }, actor }, { db, workflows }) => {
    await db.transaction().execute(async (trx) => {
      const repository = await trx
        .selectFrom("repositories")
        .select("id")
        .where("name", "=", name)
        .forUpdate()
        .executeTakeFirst();
      if (repository === undefined) return missing(name);
      const before = await trx
        .deleteFrom("repository_polls")
        .where("repository", "=", repository.id)
        .returning("refs")
        .executeTakeFirst();
      await record(trx, { actor, action: "repository.poll", subject: name, after: { everySeconds } });
      if (everySeconds === undefined) return;
      const id = randomUUID();
      await trx
        .insertInto("repository_polls")
        .values({
          repository: repository.id,
          id,
          every_seconds: everySeconds,
          // What moved since the last answer of the older interval is told of, too.
          refs: before === undefined || before.refs === null ? null : JSON.stringify(before.refs),
        })
        .execute();
      await begin(workflows, trx, { id, round: 1, everySeconds });
    });
    workflows.wake();
    return { repository: name, ...(everySeconds === undefined ? {} : { everySeconds }) };
  }),
];
