/** What the API answers about tests that fail now and then. */
import * as api from "@kws/api/runs";
import { UserError } from "@kws/base/errors";
import { sql } from "kysely";
import { record } from "../audit/record.ts";
import { endpoint, type Endpoint } from "../http/handlers.ts";
import { cursorKey, pageLimit, toPage } from "../http/page.ts";

interface FlakyRow {
  service: string;
  test: string;
  failed: string;
  runs: string;
  last_failed: Date;
  quarantined: boolean;
}

export const testEndpoints: readonly Endpoint[] = [
  // The rule is that of packages/platform/src/pipeline/flaky.ts: a test that passed and failed with the same content.
  endpoint(api.listFlaky, async ({ query: { limit, cursor, service } }, { db }) => {
    const after = cursor === undefined ? ["", ""] : (JSON.parse(cursorKey(cursor)) as string[]);
    const { rows } = await sql<FlakyRow>`
      WITH contents AS (
        SELECT service, test, count(*) AS runs, count(*) FILTER (WHERE outcome = 'failed') AS failed,
               max(at) FILTER (WHERE outcome = 'failed') AS last_failed
        FROM test_results
        WHERE ${service ?? null}::text IS NULL OR service = ${service ?? null}
        GROUP BY service, test, content
      )
      SELECT service, test, sum(failed) AS failed, sum(runs) AS runs, max(last_failed) AS last_failed,
             EXISTS (
               SELECT FROM quarantine WHERE quarantine.service = contents.service AND quarantine.test = contents.test
             ) AS quarantined
      FROM contents
      WHERE failed > 0 AND failed < runs AND (service, test) > (${after[0]}, ${after[1]})
      GROUP BY service, test
      ORDER BY service, test
      LIMIT ${pageLimit(limit)}`.execute(db);
    return toPage(
      rows,
      limit,
      (row) => JSON.stringify([row.service, row.test]),
      ({ service, test, failed, runs, last_failed: last, quarantined }) => ({
        service,
        test,
        failed: Number(failed),
        runs: Number(runs),
        lastFailed: last.toISOString(),
        quarantined,
      }),
    );
  }),

  endpoint(
    api.quarantineTest,
    async ({ params: { service, test }, body: { why }, actor, authorise }, { db }) => {
      authorise({ service });
      await db.transaction().execute(async (trx) => {
        const added = await trx
          .insertInto("quarantine")
          .values({ service, test, by: actor.name, why: why ?? null })
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst();
        if (added.numInsertedOrUpdatedRows === 0n) return;
        await record(trx, {
          actor,
          action: "test.quarantine",
          subject: `${service}/${test}`,
          ...(why === undefined ? {} : { why }),
        });
      });
      return { service, test };
    },
  ),

  endpoint(api.releaseTest, async ({ params: { service, test }, actor, authorise }, { db }) => {
    authorise({ service });
    await db.transaction().execute(async (trx) => {
      const removed = await trx
        .deleteFrom("quarantine")
        .where("service", "=", service)
        .where("test", "=", test)
        .executeTakeFirst();
      if (removed.numDeletedRows === 0n) {
        throw new UserError(`the test "${test}" of ${service} is not in quarantine`, { code: "not-found" });
      }
      await record(trx, { actor, action: "test.release", subject: `${service}/${test}` });
    });
    return { service, test };
  }),
];
