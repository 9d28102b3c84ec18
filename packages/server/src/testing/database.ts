/** A real PostgreSQL for a test file, with a fresh, migrated database for each test that asks. */
import { randomUUID } from "node:crypto";
import { tempDir } from "@kws/base/tempdir";
import { Client } from "pg";
import { startEmbedded } from "../database/embedded.ts";
import { type OpenDatabase, openDatabase } from "../database/open.ts";
import { createServerLogger } from "../log.ts";

export interface TestPostgres extends AsyncDisposable {
  /** Closed by whoever opened it, before the whole ends. */
  open(): Promise<OpenDatabase>;
}

export async function testPostgres(): Promise<TestPostgres> {
  await using made = new AsyncDisposableStack();
  const dir = made.use(await tempDir("kws-pg"));
  const { env } = process;
  const server = await startEmbedded({ folder: dir.path, env, uid: process.getuid?.() ?? -1 });
  made.defer(() => server.stop());
  const parts = made.move();
  return {
    async open() {
      const name = `test_${randomUUID().replaceAll("-", "")}`;
      const client = new Client({ connectionString: server.url });
      await client.connect();
      await client.query(`CREATE DATABASE ${name}`);
      await client.end();
      return openDatabase(server.url.replace("/postgres?", `/${name}?`), createServerLogger("error"));
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
