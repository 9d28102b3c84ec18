/** The workflow for what a forge, a hook or a poll has told: brings the server's copy up to date, and begins what the events lead to. */
import { publicAddress } from "@kws/platform/project/git";
import type { ServerContext } from "../../context.ts";
import { publish } from "../../events/publish.ts";
import { syncRepository } from "../../repositories/sync.ts";
import { defineWorkflow } from "../../workflows/workflow.ts";
import type { ForgeEvent } from "./event.ts";

export interface HandleInput {
  events: ForgeEvent[];
  /** That told of them; none where they were asked for. */
  delivery?: { webhook: string; key: string };
}

interface Known {
  id: string;
  branch: string;
}

/** As many at a time as fetch without taking the machine from what else it does. */
const together = 4;

export const handleEvents = defineWorkflow<HandleInput>({
  name: "webhook.handle",
  together,
  async run(ctx, { events, delivery }, step) {
    for (const [index, event] of events.entries()) {
      const repositories = await step(`${index} repositories`, () => find(ctx, event));
      for (const { id, branch } of repositories) {
        if (movesTo(event, branch)) {
          await syncRepository.run(ctx, { id }, (name, work) => step(`${index} ${id} ${name}`, work));
        }
        await step(`${index} ${id} publish`, () => tell(ctx, id, event));
      }
    }
    if (delivery !== undefined) await step("handled", () => markHandled(ctx, delivery));
  },
});

/** A repository may be registered several times, under the names of several teams. */
async function find({ db }: ServerContext, { repository }: ForgeEvent): Promise<Known[]> {
  const wanted = spelled(repository.url);
  const rows = await db.selectFrom("repositories").select(["id", "url", "branch"]).orderBy("name").execute();
  return rows.filter(({ url }) => spelled(url) === wanted).map(({ id, branch }) => ({ id, branch }));
}

function spelled(url: string): string {
  return publicAddress(url) ?? url;
}

function movesTo(event: ForgeEvent, branch: string): boolean {
  return event.type === "push" && event.branch === branch && event.commit !== undefined;
}

const kinds = { push: "repository.pushed", tag: "repository.tagged", "pull-request": "repository.proposed" };

async function tell({ db }: ServerContext, id: string, event: ForgeEvent): Promise<void> {
  const { type, repository, ...data } = event;
  await db.transaction().execute(async (trx) => {
    await publish(trx, { kind: kinds[type], subject: id, data: { ...data, repository: repository.name } });
  });
}

async function markHandled(
  { db, now }: ServerContext,
  { webhook, key }: { webhook: string; key: string },
): Promise<void> {
  await db
    .updateTable("webhook_deliveries")
    .set({ handled_at: now() })
    .where("webhook", "=", webhook)
    .where("key", "=", key)
    .execute();
}
