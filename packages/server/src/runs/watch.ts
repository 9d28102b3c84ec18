/** What people say to a run that is at work, on whichever server they say it: to end it, to let a step begin or not. */
import { messageOf } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { Selectable } from "kysely";
import type { ServerContext } from "../context.ts";
import type { Tables } from "../database/schema.ts";

export type Decision = Selectable<Tables["approvals"]>;

export interface Watch extends AsyncDisposable {
  /** Aborts when the run is to end. */
  signal: AbortSignal;
  /** Rejects when the signal aborts. */
  decision(job: string, signal: AbortSignal): Promise<Decision>;
}

/** The reason of a run's signal that somebody asked to end. */
export class RunEnding extends Error {
  override name = "RunEnding";
}

const pauseMs = 500;

export function watchRun({ db, feed, log }: ServerContext, id: string): Watch {
  const closed = new AbortController();
  const ending = new AbortController();
  const decided = new Map<string, PromiseWithResolvers<Decision>>();
  const of = (job: string) => {
    const known = decided.get(job) ?? Promise.withResolvers<Decision>();
    decided.set(job, known);
    return known;
  };
  const look = async () => {
    const [run, decisions] = await Promise.all([
      db.selectFrom("runs").select(["ending", "problem"]).where("id", "=", id).executeTakeFirst(),
      db.selectFrom("approvals").selectAll().where("run", "=", id).execute(),
    ]);
    for (const decision of decisions) of(decision.job).resolve(decision);
    if (run?.ending !== null) ending.abort(new RunEnding(run?.problem ?? "the run was removed"));
  };
  const watch = async () => {
    while (!closed.signal.aborted) {
      try {
        await look();
        // From the first event on: what was said before this began is not missed.
        for await (const event of feed.read("0", { subject: id }, closed.signal))
          if (event === undefined || event.kind === "run.cancelling" || event.kind === "run.decided")
            await look();
      } catch (error) {
        log.warn("a run waits for the database", { run: id, error: messageOf(error) });
      }
      await sleep(pauseMs, closed.signal).catch(() => undefined);
    }
  };
  const watching = watch();
  return {
    signal: ending.signal,
    async decision(job, signal) {
      const stopped = Promise.withResolvers<never>();
      const stop = () =>
        stopped.reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      try {
        return await Promise.race([of(job).promise, stopped.promise]);
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    async [Symbol.asyncDispose]() {
      closed.abort();
      await watching;
    },
  };
}
