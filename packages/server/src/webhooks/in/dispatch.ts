/** Works on the deliveries that were written down: each is handed on at least once, by one of the servers on the database. */
import { messageOf } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { type Kysely, sql } from "kysely";
import type { WebhookTables } from "../tables.ts";
import type { ForgeEvent } from "./event.ts";

export interface DispatchOptions {
  database: Kysely<WebhookTables>;
  /**
   * Begins what an event leads to. It may be called again for the same event with the same id, which is to be that of a durable
   * workflow; so that nothing is done twice.
   */
  handle: (event: ForgeEvent, id: string) => Promise<void>;
  onError: (error: unknown) => void;
  /** How long to wait for deliveries that another server took in and did not work on; in milliseconds. */
  intervalMs: number;
}

/** Deliveries of one transaction. */
const batch = 50;
/** After so many failures, over about a day, a delivery is left with its last error. */
const maxAttempts = 12;
/** Deliveries are remembered so long: who replays an older one has to have it from then. */
const keptDays = 90;

export class Dispatcher {
  readonly #options: DispatchOptions;
  #wake = new AbortController();

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  /** There is something new. */
  wake(): void {
    this.#wake.abort();
  }

  /** Until the signal aborts; what has been begun is finished first. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        if ((await dispatch(this.#options)) > 0) continue;
        await prune(this.#options.database);
      } catch (error) {
        // The database may be away for a while.
        this.#options.onError(error);
      }
      await pause(this.#options.intervalMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }
}

/** Until the time is over or the signal aborts, whichever is first. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Works on one batch. Answers how many deliveries there were. */
export async function dispatch({ database, handle, onError }: DispatchOptions): Promise<number> {
  return database.transaction().execute(async (transaction) => {
    const due = await transaction
      .selectFrom("webhook_deliveries")
      .select(["webhook", "key", "events", "attempts"])
      .where("due_at", "<=", sql<Date>`now()`)
      .orderBy("due_at")
      .limit(batch)
      .forUpdate()
      .skipLocked()
      .execute();
    for (const { webhook, key, events, attempts } of due) {
      const update = transaction
        .updateTable("webhook_deliveries")
        .where("webhook", "=", webhook)
        .where("key", "=", key);
      try {
        for (const [index, event] of events.entries()) await handle(event, `${webhook}/${key}/${index}`);
        await update.set({ due_at: null, error: null }).execute();
      } catch (error) {
        onError(error);
        const last = attempts + 1 >= maxAttempts;
        const due_at = last ? null : sql<Date>`now() + ${2 ** attempts * 30} * interval '1 second'`;
        await update.set({ attempts: attempts + 1, due_at, error: messageOf(error) }).execute();
      }
    }
    return due.length;
  });
}

async function prune(database: Kysely<WebhookTables>): Promise<void> {
  await database
    .deleteFrom("webhook_deliveries")
    .where("received_at", "<", sql<Date>`now() - ${keptDays} * interval '1 day'`)
    .where("due_at", "is", null)
    .execute();
}
