/**
 * Live events of all servers on a database. PostgreSQL says that there is something new, and each reader reads on from where it is:
 * a slow one holds up nobody, and memory holds a page at most.
 */
import type { Event } from "@kws/api/events";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { sleep } from "@kws/base/retry";
import { Client } from "pg";
import type { Database } from "../database/open.ts";
import { channel } from "./publish.ts";

export interface EventFilter {
  /** The beginning of a kind. */
  kind?: string;
  subject?: string;
}

export interface Feed extends AsyncDisposable {
  /** Events after the id, then new ones until the signal aborts. `undefined` now and then, where there is nothing. */
  read(
    after: string | undefined,
    filter: EventFilter,
    signal: AbortSignal,
  ): AsyncGenerator<Event | undefined>;
}

const pageSize = 200;
const idleMs = 15_000;

export async function openFeed(db: Database, url: string, log: Logger): Promise<Feed> {
  const ended = new AbortController();
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of waiters) waiter();
  };
  const listening = listen(url, wake, log, ended.signal);
  return {
    async *read(after, filter, given) {
      const signal = AbortSignal.any([given, ended.signal]);
      let last = after ?? (await newest(db));
      while (!signal.aborted) {
        // Before the query: what is committed while it runs wakes the next round.
        const woken = nextWake(waiters, signal);
        const rows = await pageAfter(db, last, filter);
        for (const row of rows) {
          last = row.id;
          yield { ...row, at: row.at.toISOString() };
        }
        if (rows.length === pageSize) continue;
        if (!(await woken)) yield undefined;
      }
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await listening;
    },
  };
}

/** True when there may be something new, false after a while without; also when the signal aborts. */
function nextWake(waiters: Set<() => void>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (woken: boolean) => {
      clearTimeout(timer);
      waiters.delete(stop);
      signal.removeEventListener("abort", stop);
      resolve(woken);
    };
    const stop = () => finish(true);
    const timer = setTimeout(() => finish(false), idleMs);
    waiters.add(stop);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
  });
}

function pageAfter(db: Database, last: string, { kind, subject }: EventFilter) {
  let query = db.selectFrom("events").selectAll().where("id", ">", last);
  if (kind !== undefined) query = query.where("kind", "like", `${kind.replaceAll(/[\\%_]/g, "\\$&")}%`);
  if (subject !== undefined) query = query.where("subject", "=", subject);
  return query.orderBy("id").limit(pageSize).execute();
}

async function newest(db: Database): Promise<string> {
  const row = await db.selectFrom("events").select("id").orderBy("id", "desc").limit(1).executeTakeFirst();
  return row?.id ?? "0";
}

/** One connection for all readers; where it breaks, another, and everybody looks for what they missed. */
async function listen(url: string, wake: () => void, log: Logger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const client = new Client({ connectionString: url, application_name: "kws events" });
    const broken = new Promise<void>((resolve) => {
      client.on("error", () => resolve());
      client.on("end", () => resolve());
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    client.on("notification", wake);
    try {
      await client.connect();
      await client.query(`LISTEN ${channel}`);
      wake();
      await broken;
    } catch (error) {
      log.warn("live events wait for the database", { error: messageOf(error) });
    }
    await client.end().catch(() => undefined);
    await sleep(500, signal).catch(() => undefined);
  }
}
