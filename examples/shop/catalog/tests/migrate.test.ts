import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { migrate } from "../src/migrate.ts";

const connectionString = process.env.DATABASE_URL;
const folder = new URL("../migrations/", import.meta.url);

test(
  "migrations are applied once",
  { skip: connectionString === undefined && "needs a database" },
  async () => {
    const client = new pg.Client({ connectionString });
    await client.connect();
    try {
      assert.deepEqual(await migrate(client, folder), ["001_products.sql"]);
      assert.deepEqual(await migrate(client, folder), []);
    } finally {
      await client.end();
    }
  },
);
