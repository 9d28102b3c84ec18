/**
 * Migrations: numbered SQL files, applied once and in order, each in a transaction of its own, and never changed afterwards. Servers
 * that start at the same time take turns.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { Pool, PoolClient } from "pg";

export interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
}

/** Any number that no other program on the database takes: "kws" in ASCII. */
const migrationLock = 0x6b7773;
const turnMs = 50;

/** Beside this file, or beside the bundle. */
export async function readMigrations(
  folder = fileURLToPath(new URL("migrations", import.meta.url)),
): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(join(folder, name), "utf8");
      return {
        version: Number(name.slice(0, 4)),
        name: name.slice(0, -".sql".length),
        sql,
        checksum: createHash("sha256").update(sql).digest("hex"),
      };
    }),
  );
}

/**
 * Servers that start at the same time take turns. It asks again and again: a session that waits for a lock has a snapshot, and a
 * CREATE INDEX CONCURRENTLY of the one before would wait for that.
 */
export async function inTurn<Result>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  try {
    while (!(await tryLock(client))) await sleep(turnMs);
    const result = await work(client);
    await client.query("SELECT pg_advisory_unlock($1)", [migrationLock]);
    client.release();
    return result;
  } catch (error) {
    // Ends its transaction and its lock, too.
    client.release(true);
    throw error;
  }
}

async function tryLock(client: PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>("SELECT pg_try_advisory_lock($1) AS locked", [
    migrationLock,
  ]);
  return rows[0]?.locked === true;
}

/** The names of those that were applied now. */
export function migrate(pool: Pool, migrations: Migration[]): Promise<string[]> {
  return inTurn(pool, async (client) => {
    await client.query(
      "CREATE TABLE IF NOT EXISTS migrations (version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    );
    const { rows } = await client.query<Pick<Migration, "version" | "name" | "checksum">>(
      "SELECT version, name, checksum FROM migrations ORDER BY version",
    );
    checkApplied(rows, migrations);
    const applied: string[] = [];
    for (const { version, name, sql, checksum } of migrations.slice(rows.length)) {
      await client.query("BEGIN");
      await client.query(sql);
      await client.query("INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)", [
        version,
        name,
        checksum,
      ]);
      await client.query("COMMIT");
      applied.push(name);
    }
    return applied;
  });
}

function checkApplied(applied: Pick<Migration, "version" | "name" | "checksum">[], known: Migration[]): void {
  for (const [index, row] of applied.entries()) {
    const migration = known[index];
    if (migration === undefined) {
      throw new UserError(`the database was migrated by a newer kws: ${row.name} is not known here`, {
        code: "config",
        fix: "Start the newer version; a database is never migrated back.",
      });
    }
    if (migration.checksum !== row.checksum) {
      throw new UserError(`the migration ${row.name} is not what was applied to the database`, {
        code: "config",
        fix: "Leave applied migrations as they are, and add another.",
      });
    }
  }
}
