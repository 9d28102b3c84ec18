// Brings this service's own schema to the newest version: every file of migrations/ once, in order, each in a transaction.
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";

const schema = "orders";

export async function migrate(client: pg.Client, folder: URL): Promise<string[]> {
  // Two Jobs at once take turns.
  await client.query("SELECT pg_advisory_lock(hashtext($1))", [schema]);
  try {
    await client.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
    await client.query(`SET search_path TO ${schema}`);
    await client.query(
      "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())",
    );
    const { rows } = await client.query<{ name: string }>("SELECT name FROM migrations");
    const applied = new Set(rows.map((row) => row.name));
    const files = (await readdir(folder)).filter((file) => file.endsWith(".sql")).sort();
    const missing = files.filter((file) => !applied.has(file));
    for (const file of missing) {
      const sql = await readFile(new URL(file, folder), "utf8");
      await client.query("BEGIN");
      try {
        await client.query(sql);
        await client.query("INSERT INTO migrations (name) VALUES ($1)", [file]);
        await client.query("COMMIT");
      } catch (error) {
        await client.query("ROLLBACK");
        throw new Error(`migration ${file} failed`, { cause: error });
      }
    }
    return missing;
  } finally {
    await client.query("SELECT pg_advisory_unlock(hashtext($1))", [schema]);
  }
}

if (import.meta.main) {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  try {
    const applied = await migrate(client, new URL("../migrations/", import.meta.url));
    console.log(applied.length === 0 ? "nothing to migrate" : `applied ${applied.join(", ")}`);
  } finally {
    await client.end();
  }
}
