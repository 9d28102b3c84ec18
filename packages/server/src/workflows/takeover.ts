/**
 * Which servers are there. Each counts up in its row. One whose count has not changed for a while, by the clock of whoever looks, has
 * ended: its row is deleted by one of the others, and its workflows are anybody's.
 */
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import { sql } from "kysely";
import type { Database } from "../database/open.ts";

export interface Takeover {
  /** Enters this server, before it takes work. */
  enter(): Promise<void>;
  /** Looks after the others until the end. `onBeat` is called with every round. */
  begin(onBeat: () => void): Promise<void>;
  end(): Promise<void>;
  /** Takes this server out: what it has left is anybody's at once. */
  leave(): Promise<void>;
}

export interface TakeoverOptions {
  db: Database;
  log: Logger;
  id: string;
  /** No other server can be on the database. */
  alone: boolean;
  /** Others have taken over what this one does: it has to end at once. */
  onLost: () => void;
}

const beatMs = 2_000;
const lostAfterMs = 15_000;

export function defineTakeover({ db, log, id, alone, onLost }: TakeoverOptions): Takeover {
  const ended = new AbortController();
  let beating: Promise<void> | undefined;
  let seen = new Map<string, { beats: string; since: number }>();

  const round = async () => {
    const mine = await sql`UPDATE servers SET beats = beats + 1 WHERE id = ${id}`.execute(db);
    if (mine.numAffectedRows !== 1n) return onLost();
    const others = await db.selectFrom("servers").select(["id", "beats"]).where("id", "<>", id).execute();
    const now = performance.now();
    const before = seen;
    seen = new Map(
      others.map(({ id, beats }) => {
        const last = before.get(id);
        return [id, last?.beats === beats ? last : { beats, since: now }];
      }),
    );
    for (const [other, { since }] of seen) {
      if (now - since < lostAfterMs) continue;
      await db.deleteFrom("servers").where("id", "=", other).execute();
      log.info("a server has ended without a word", { server: other });
    }
    await adopt(db, log);
  };

  return {
    async enter() {
      if (alone) await db.deleteFrom("servers").execute();
      await db.insertInto("servers").values({ id }).execute();
    },
    async begin(onBeat) {
      await round();
      onBeat();
      const beat = async () => {
        for (;;) {
          await sleep(beatMs, ended.signal).catch(() => undefined);
          if (ended.signal.aborted) return;
          try {
            await round();
            onBeat();
          } catch (error) {
            // Nobody could count up while the database was away.
            seen = new Map();
            log.warn("the database does not answer", { error: messageOf(error) });
          }
        }
      };
      beating = beat();
    },
    async end() {
      ended.abort();
      await beating;
    },
    async leave() {
      await db.deleteFrom("servers").where("id", "=", id).execute();
    },
  };
}

/**
 * Workflows that run on none of the servers that are there go back to the queue. DBOS does the same for executors whose names it is
 * given at its start; this finds them by who is left, in one statement, so that no other server can have taken one in between.
 */
async function adopt(db: Database, log: Logger): Promise<void> {
  const { rows } = await sql<{ workflow_uuid: string }>`
    UPDATE dbos.workflow_status
    SET status = 'ENQUEUED', owner_xid = NULL, started_at_epoch_ms = NULL,
        updated_at = (EXTRACT(EPOCH FROM now()) * 1000)::bigint,
        queue_name = COALESCE(queue_name, '_dbos_internal_queue')
    WHERE status = 'PENDING' AND executor_id NOT IN (SELECT id::text FROM servers)
    RETURNING workflow_uuid`.execute(db);
  if (rows.length > 0) log.info("workflows go on", { workflows: rows.map((row) => row.workflow_uuid) });
}
