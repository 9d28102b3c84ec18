import { listAudit } from "@kws/api/audit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type TestApp, testApp } from "../access/testing/app.ts";
import type { OpenDatabase } from "../database/open.ts";
import { testPostgres, type TestPostgres } from "../testing/database.ts";
import { auditEndpoints } from "./endpoints.ts";
import { ChainReader } from "./chain.ts";
import { record } from "./record.ts";
import { sql } from "kysely";
import type { AuditEntry } from "@kws/api/audit";
import type { PageOf } from "@kws/api/page";

let postgres: TestPostgres;
let database: OpenDatabase;
let server: TestApp;
const actor = { kind: "user", id: "u1", name: "u1 of the tests" } as const;

beforeAll(async () => {
  postgres = await testPostgres();
});
afterAll(() => postgres[Symbol.asyncDispose]());
beforeEach(async () => {
  database = await postgres.open();
  server = await testApp(database.db, {}, auditEndpoints);
  return async () => {
    await server.app.close();
    await database[Symbol.asyncDispose]();
  };
});

const write = (subject: string, after?: unknown) =>
  database.db
    .transaction()
    .execute((trx) => record(trx, { actor, action: "thing.change", subject, after, why: "a reason" }));

async function page(query: Record<string, string>): Promise<PageOf<AuditEntry>> {
  const headers = { authorization: `Bearer ${server.token}` };
  const answer = await server.app.inject({ method: "GET", url: listAudit.path, query, headers });
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json();
}

async function all(): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  let cursor: string | undefined;
  do {
    const { items, next } = await page({
      order: "oldest",
      limit: "7",
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...items);
    cursor = next;
  } while (cursor !== undefined);
  return found;
}

test("entries that are written at the same time follow from each other, and what is rolled back leaves no trace", async () => {
  const odd = { text: 'ü\u2028"\\', numbers: [1, 1.5, -0, 1e21], nested: { b: null, a: [] } };
  const failing = database.db.transaction().execute(async (trx) => {
    await record(trx, { actor, action: "thing.change", subject: "undone" });
    throw new Error("undone");
  });
  await expect(failing).rejects.toThrow("undone");
  await Promise.all(Array.from({ length: 20 }, (_, index) => write(`s${index}`, { index, odd })));
  const entries = await all();
  expect(entries).toHaveLength(20);
  const reader = new ChainReader();
  expect(entries.map((entry) => reader.read(entry))).toEqual(Array(20).fill(undefined));
  expect(entries[0]).toMatchObject({
    actor,
    action: "thing.change",
    why: "a reason",
    seq: expect.any(Number),
  });
});

test("what is asked for is found by actor, action, subject and time, newest first", async () => {
  for (const subject of ["a", "b", "c"]) await write(subject);
  const subjects = async (query: Record<string, string>) =>
    (await page(query)).items.map(({ subject }) => subject);
  expect(await subjects({ actor: "u1" })).toEqual(["c", "b", "a"]);
  expect(await subjects({ actor: "u1 of the tests", action: "thing." })).toHaveLength(3);
  expect(await subjects({ actor: "u2" })).toEqual([]);
  expect(await subjects({ action: "thing.%" }), "a pattern is none").toEqual([]);
  expect(await subjects({ subject: "b" })).toEqual(["b"]);
  const [, second] = (await page({ order: "oldest" })).items;
  expect(await subjects({ until: second?.at ?? "", order: "oldest" })).toContain("a");
  expect(await subjects({ since: "2999-01-01T00:00:00Z" })).toEqual([]);
});

test("entries cannot be changed, and a change behind the database's back is found", async () => {
  for (const subject of ["a", "b", "c"]) await write(subject);
  for (const change of ["UPDATE audit SET subject = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
    await expect(sql.raw(change).execute(database.db), change).rejects.toThrow("only ever added");
  await sql.raw("ALTER TABLE audit DISABLE TRIGGER ALL").execute(database.db);
  await sql.raw("UPDATE audit SET subject = 'x' WHERE subject = 'b'").execute(database.db);
  const reader = new ChainReader();
  const breaks = (await all()).map((entry) => reader.read(entry)?.reason);
  expect(breaks).toEqual([undefined, "its content was changed", undefined]);
});
