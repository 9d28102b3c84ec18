/** A migrated database: a pool of connections, and Kysely over it. */
import type { Logger } from "@kws/base/logger";
import { Kysely, PostgresDialect } from "kysely";
import { Pool } from "pg";
import { migrate, readMigrations } from "./migrate.ts";
import type { Tables } from "./schema.ts";

export type Database = Kysely<Tables>;

export interface OpenDatabase extends AsyncDisposable {
  db: Database;
  pool: Pool;
  url: string;
}

export async function openDatabase(url: string, log: Logger): Promise<OpenDatabase> {
  const pool = new Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 10_000,
    application_name: "kws",
  });
  const broke = (error: Error) => log.warn("a connection to the database broke", { error: error.message });
  // One that is idle when the database goes away; the next query takes another.
  pool.on("error", broke);
  // One in the middle of a transaction, between two queries: the next of them fails.
  pool.on("connect", (client) => client.on("error", broke));
  try {
    for (const name of await migrate(pool, await readMigrations())) log.info("migrated", { migration: name });
  } catch (error) {
    await pool.end();
    throw error;
  }
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return { db, pool, url, [Symbol.asyncDispose]: () => db.destroy() };
}
