/** The queue on a real PostgreSQL: how many runs work at once, whose turn it is, and that two servers never start one twice. */
import { join } from "node:path";
import { silent } from "@kws/base/logger";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import type { Transaction } from "kysely";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { readConfig } from "../config.ts";
import { type EmbeddedDatabase, startEmbedded } from "../database/embedded.ts";
import type { Tables } from "../database/schema.ts";
import { type OpenDatabase, openDatabase } from "../database/open.ts";
import { dispatch, lockQueue, type QueueContext, refuseFull } from "./queue.ts";
import { endRun, findRun, insertRun, keptJobs, supersede } from "./store.ts";

let dir: TempDir;
let postgres: EmbeddedDatabase;
let database: OpenDatabase;
let ctx: QueueContext;
/** By the workflows that were asked for. */
let begun: string[];

beforeAll(async () => {
  dir = await tempDir("kws-queue");
  postgres = await startEmbedded({
    folder: join(dir.path, "postgres"),
    env: process.env,
    uid: process.getuid?.() ?? -1,
  });
  database = await openDatabase(postgres.url, silent);
  const config = {
    ...(await readConfig({})),
    concurrentRuns: 4,
    concurrentRunsPerTeam: 3,
    maxQueuedRuns: 60,
  };
  const workflows: QueueContext["workflows"] = {
    start: (_trx, _workflow, id) => {
      begun.push(id);
      return Promise.resolve();
    },
    wake: () => undefined,
    result: () => Promise.resolve(),
  };
  ctx = { config, workflows, keys: [], now: () => new Date() };
});
beforeEach(async () => {
  begun = [];
  await database.db.deleteFrom("runs").execute();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await postgres.stop();
  await dir[Symbol.asyncDispose]();
});

const transaction = (work: (trx: Transaction<Tables>) => Promise<void>) =>
  database.db.transaction().execute(async (trx) => {
    await lockQueue(trx);
    await work(trx);
  });

async function add(id: string, team: string): Promise<void> {
  await transaction(async (trx) => {
    await refuseFull(trx, ctx);
    await insertRun(trx, {
      id,
      repository_id: "00000000-0000-0000-0000-000000000000",
      repository: "shop",
      service: "orders",
      commit: "0000000",
      branch: "main",
      tag: null,
      event: "push",
      changed: null,
      team,
      requested_by: "somebody",
      state: "queued",
      plan: JSON.stringify([{ id: "a", title: "a", step: "a", config: {}, needs: [], at: "kws.yaml:1:1" }]),
    });
    await dispatch(trx, ctx);
  });
}

async function end(id: string): Promise<void> {
  await transaction(async (trx) => {
    await trx
      .updateTable("runs")
      .set({ state: "succeeded", ended_at: new Date() })
      .where("id", "=", id)
      .execute();
    await dispatch(trx, ctx);
  });
}

async function running(): Promise<{ id: string; team: string }[]> {
  return database.db
    .selectFrom("runs")
    .select(["id", "team"])
    .where("state", "=", "running")
    .orderBy("started_at")
    .execute();
}

test("50 runs at once: no team has more than its share, and a small team does not wait for a large one", async () => {
  await Promise.all(Array.from({ length: 45 }, (_, index) => add(`large-${index}`, "large")));
  expect(await running()).toHaveLength(3);
  await Promise.all(Array.from({ length: 5 }, (_, index) => add(`small-${index}`, "small")));
  expect(await running()).toHaveLength(4);
  const order: string[] = [];
  for (;;) {
    const [first] = await running();
    if (first === undefined) break;
    order.push(first.team);
    await end(first.id);
    const teams = Map.groupBy(await running(), ({ team }) => team);
    expect(teams.get("large")?.length ?? 0).toBeLessThanOrEqual(3);
    expect(teams.get("small")?.length ?? 0).toBeLessThanOrEqual(3);
  }
  expect(order).toHaveLength(50);
  expect(order.lastIndexOf("small"), "turn by turn with the large one").toBeLessThan(14);
  expect(new Set(begun).size, "each was started once").toBe(50);
  expect(begun).toHaveLength(50);
});

test("two servers that hand out at the same time give each place once", async () => {
  await Promise.all(Array.from({ length: 10 }, (_, index) => add(`one-${index}`, `team-${index}`)));
  await Promise.all(Array.from({ length: 8 }, () => transaction((trx) => dispatch(trx, ctx))));
  expect(await running()).toHaveLength(4);
  expect(begun).toHaveLength(4);
});

test("a full queue refuses", async () => {
  for (let index = 0; index < 63; index++) await add(`run-${index}`, "team");
  await expect(add("more", "team")).rejects.toMatchObject({ reason: "too-many", retryAfter: 30 });
});

test("the newest run of a branch ends the older ones, queued or at work", async () => {
  for (const id of ["one", "two", "three", "four", "five"]) await add(id, "team");
  await transaction(async (trx) => {
    await supersede(trx, ctx, "five");
    await dispatch(trx, ctx);
  });
  const [one, four, five] = await Promise.all(["one", "four", "five"].map((id) => findRun(database.db, id)));
  expect(one, "whoever works on it is told").toMatchObject({ state: "running", ending: "superseded" });
  expect(four).toMatchObject({ state: "superseded", problem: "five is newer" });
  expect(five).toMatchObject({ state: "queued", ending: null });
});

test("one that is queued is ended at once, and never started", async () => {
  for (const id of ["one", "two", "three", "four"]) await add(id, "team");
  await transaction(async (trx) => endRun(trx, ctx, await findRun(trx, "four"), "cancelled", "why not"));
  await end("one");
  expect(await findRun(database.db, "four")).toMatchObject({ state: "cancelled", problem: "why not" });
  expect(begun).toHaveLength(3);
});

test("a retry keeps what passed and does not need the step, but no datastores", () => {
  const job = (id: string, ...needs: string[]) => ({ id, title: id, step: id, config: {}, needs, at: "" });
  const plan = [
    { ...job("datastores"), uses: "datastores" as const },
    job("build", "datastores"),
    job("test", "build"),
    job("lint"),
    job("publish", "test", "lint"),
  ];
  const passed = ["datastores", "build", "test", "lint"];
  expect(keptJobs(plan, passed, "test")).toEqual(["build", "lint"]);
  expect(keptJobs(plan, passed, "datastores")).toEqual(["lint"]);
});
