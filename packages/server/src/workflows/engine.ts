/**
 * Runs workflows with DBOS on the server's own database. Each server process is an executor of its own; when one stops counting up in
 * the table of servers, another takes over what it was doing.
 */
import { randomUUID } from "node:crypto";
import { DBOS, type DLogger } from "@dbos-inc/dbos-sdk";
import { messageOf } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Logger } from "@kws/base/logger";
import { type Transaction } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Pool } from "pg";
import { inTurn } from "../database/migrate.ts";
import type { Database } from "../database/open.ts";
import type { Tables } from "../database/schema.ts";
import { defineTakeover } from "./takeover.ts";
import { handedOver, type Step, type Workflow } from "./workflow.ts";

export interface Workflows {
  /**
   * Starts a workflow when the transaction is committed, however soon the server ends after that; one of an id that was there before
   * is not started again.
   */
  start<Input>(trx: Transaction<Tables>, workflow: Workflow<Input>, id: string, input: Input): Promise<void>;
  /** Call it after the transaction; it would be seen within seconds without. */
  wake(): void;
  /** Waits for a workflow's end; throws what it threw. */
  result(id: string): Promise<unknown>;
}

export interface Engine extends Workflows {
  /** Registers the workflows and begins, with what ended in the middle. */
  launch(ctx: ServerContext, workflows: readonly Workflow[]): Promise<void>;
  /** Once the context's signal has aborted: waits for running steps, and leaves the rest to the next server. */
  shutdown(timeoutMs: number): Promise<void>;
}

export interface EngineOptions {
  db: Database;
  pool: Pool;
  url: string;
  log: Logger;
  /** No other server can be on the database: the work of those before is taken over at once. */
  alone: boolean;
  /** Others have taken over what this server does. */
  onLost: () => void;
}

type Registered = (input: unknown) => Promise<void>;

export function createEngine({ db, pool, url, log, alone, onLost }: EngineOptions): Engine {
  const id = randomUUID();
  const registered = new Map<string, Registered>();
  const takeover = defineTakeover({ db, log, id, alone, onLost });
  const running = new Set<Promise<void>>();
  let draining: Promise<void> | undefined;
  let again = false;
  let stopped = false;

  const drainAll = async () => {
    do {
      again = false;
      await drain(db, registered);
    } while (again);
  };
  const wake = () => {
    if (stopped || registered.size === 0) return;
    again = true;
    draining ??= drainAll()
      .catch((error: unknown) => log.warn("workflows wait to be started", { error: messageOf(error) }))
      .finally(() => (draining = undefined));
  };

  return {
    wake,
    async start(trx, workflow, workflowId, input) {
      await trx
        .insertInto("outbox")
        .values({ id: workflowId, workflow: workflow.name, input: JSON.stringify(input) })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    },
    result: (workflowId) => DBOS.getResult(workflowId),
    async launch(ctx, workflows) {
      const attempt = async <Result>(work: () => Promise<Result>) =>
        ctx.signal.aborted ? handedOver() : perform(work, running, ctx.signal);
      DBOS.setConfig({
        name: "kws",
        systemDatabaseUrl: url,
        systemDatabasePoolSize: 10,
        executorID: id,
        // One for all versions of kws: a new one goes on with what an older one began.
        applicationVersion: "1",
        logger: dbosLogger(log.child({ part: "workflows" })),
      });
      for (const workflow of workflows as Workflow<unknown>[]) {
        const turn = workflow.together === undefined ? undefined : limiter(workflow.together);
        const step: Step = (name, work) =>
          DBOS.runStep(() => (turn === undefined ? attempt(work) : turn(() => attempt(work))), { name });
        const run: Registered = (input) => workflow.run(ctx, input, step);
        registered.set(workflow.name, DBOS.registerWorkflow(run, { name: workflow.name }));
      }
      await takeover.enter();
      // It makes its tables without regard to others.
      await inTurn(pool, () => DBOS.launch());
      await takeover.begin(wake);
    },
    async shutdown(timeoutMs) {
      stopped = true;
      await takeover.end();
      await draining;
      const late = new Promise((resolve) => setTimeout(resolve, timeoutMs).unref());
      await Promise.race([Promise.all(running), late]);
      await DBOS.shutdown({ deregister: true });
      await takeover.leave().catch((error: unknown) => {
        log.warn("the other servers are not told of the end", { error: messageOf(error) });
      });
    },
  };
}

/**
 * A step that fails because the server ends has not failed: nothing is recorded, and another server does it again. One that succeeds
 * is recorded, also then.
 */
async function perform<Result>(
  work: () => Promise<Result>,
  running: Set<Promise<void>>,
  ending: AbortSignal,
): Promise<Result> {
  const { promise, resolve: settled } = Promise.withResolvers<void>();
  running.add(promise);
  try {
    return await work();
  } catch (error) {
    if (!ending.aborted) throw error;
  } finally {
    running.delete(promise);
    settled();
  }
  return handedOver();
}

/** Starts what transactions asked for. Two servers never take the same row, and DBOS knows an id that was started before. */
async function drain(db: Database, registered: Map<string, Registered>): Promise<void> {
  for (;;) {
    const more = await db.transaction().execute(async (trx) => {
      const rows = await trx
        .selectFrom("outbox")
        .selectAll()
        .where("workflow", "in", [...registered.keys()])
        .orderBy("at")
        .limit(50)
        .forUpdate()
        .skipLocked()
        .execute();
      for (const { id, workflow, input } of rows) {
        const run = registered.get(workflow);
        if (run === undefined) continue;
        await DBOS.startWorkflow(run, { workflowID: id })(input);
      }
      if (rows.length === 0) return false;
      await trx
        .deleteFrom("outbox")
        .where(
          "id",
          "in",
          rows.map(({ id }) => id),
        )
        .execute();
      return true;
    });
    if (!more) return;
  }
}

function dbosLogger(log: Logger): DLogger {
  const text = (entry: unknown) => (typeof entry === "string" ? entry : messageOf(entry));
  return {
    // What it says at the level of information is about itself.
    info: (entry) => log.debug(text(entry)),
    debug: (entry) => log.debug(text(entry)),
    warn: (entry) => log.warn(text(entry)),
    error: (entry, metadata) =>
      log.error(text(entry), metadata?.stack === undefined ? {} : { stack: metadata.stack }),
  };
}
