/** The workflow for what a forge, a hook or a poll has told: brings the server's copy up to date, and puts runs into the queue. */
import { DBOS } from "@dbos-inc/dbos-sdk";
import { ApiError } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";
import { publicAddress } from "@kws/platform/project/git";
import type { ServerContext } from "../../context.ts";
import { syncRepository } from "../../repositories/sync.ts";
import { persist } from "../../runs/persist.ts";
import { startRuns } from "../../runs/trigger.ts";
import { defineWorkflow } from "../../workflows/workflow.ts";
import type { ForgeEvent } from "./event.ts";

export interface HandleInput {
  /** What is the same when it is told again. */
  key: string;
  events: ForgeEvent[];
  /** That told of them; none where they were asked for. */
  delivery?: { webhook: string; key: string };
}

interface Known {
  id: string;
  name: string;
  branch: string;
}

/** What keeps runs from beginning: for now, or until somebody mends it. */
interface Begun {
  waitMs?: number;
  problem?: string;
}

/** As many at a time as fetch without taking the machine from what else it does. */
const together = 4;
/** While the queue is full: about an hour. */
const attempts = 120;

export const handleEvents = defineWorkflow<HandleInput>({
  name: "webhook.handle",
  together,
  async run(ctx, { key, events, delivery }, step) {
    const problems: string[] = [];
    for (const [index, event] of events.entries()) {
      const repositories = await step(`${index} repositories`, () => find(ctx, event));
      for (const { id, name, branch } of repositories) {
        const here = `${index} ${id}`;
        if (movesTo(event, branch)) {
          await syncRepository.run(ctx, { id }, (what, work) => step(`${here} ${what}`, work));
        }
        for (let attempt = 1; ; attempt++) {
          const begin = () => begun(ctx, { key: `${key}/${index}`, repository: id, event });
          const { waitMs, problem } = await step(`${here} runs ${attempt}`, begin);
          if (waitMs !== undefined && attempt < attempts) {
            await DBOS.sleepms(waitMs);
            continue;
          }
          if (problem !== undefined) problems.push(`${name}: ${problem}`);
          break;
        }
      }
    }
    if (delivery !== undefined) await step("handled", () => markHandled(ctx, delivery, problems));
  },
});

/** A repository may be registered several times, under the names of several teams. */
async function find(ctx: ServerContext, { repository }: ForgeEvent): Promise<Known[]> {
  const wanted = spelled(repository.url);
  const rows = await persist(ctx, (trx) =>
    trx.selectFrom("repositories").select(["id", "name", "url", "branch"]).orderBy("name").execute(),
  );
  return rows
    .filter(({ url }) => spelled(url) === wanted)
    .map(({ id, name, branch }) => ({ id, name, branch }));
}

function spelled(url: string): string {
  return publicAddress(url) ?? url;
}

function movesTo(event: ForgeEvent, branch: string): boolean {
  return event.type === "push" && event.branch === branch && event.commit !== undefined;
}

async function begun(ctx: ServerContext, what: Parameters<typeof startRuns>[1]): Promise<Begun> {
  try {
    await startRuns(ctx, what);
    return {};
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const { message: problem } = error;
    if (!(error instanceof ApiError) || error.reason !== "too-many") return { problem };
    return { problem, waitMs: (error.retryAfter ?? 30) * 1000 };
  }
}

async function markHandled(
  ctx: ServerContext,
  { webhook, key }: { webhook: string; key: string },
  problems: string[],
): Promise<void> {
  await persist(ctx, (trx) =>
    trx
      .updateTable("webhook_deliveries")
      .set({ handled_at: ctx.now(), problem: problems.length === 0 ? null : problems.join("; ") })
      .where("webhook", "=", webhook)
      .where("key", "=", key)
      .execute(),
  );
}
