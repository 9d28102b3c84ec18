/** What the API answers about repositories. */
import { randomUUID } from "node:crypto";
import * as api from "@kws/api/repositories";
import { UserError } from "@kws/base/errors";
import { refuseHostile } from "@kws/platform/project/git";
import type { Selectable } from "kysely";
import { record } from "../audit/record.ts";
import type { Tables } from "../database/schema.ts";
import { publish } from "../events/publish.ts";
import { endpoint, type Endpoint } from "../http/handlers.ts";
import { cursorKey, pageLimit, toPage } from "../http/page.ts";
import { removeMirror } from "./mirror.ts";
import { syncRepository } from "./sync.ts";

type Row = Selectable<Tables["repositories"]>;

export const repositoryEndpoints: readonly Endpoint[] = [
  endpoint(api.listRepositories, async ({ query: { limit, cursor, team } }, { db }) => {
    let rows = db.selectFrom("repositories").selectAll().orderBy("name").limit(pageLimit(limit));
    if (team !== undefined) rows = rows.where("team", "=", team);
    if (cursor !== undefined) rows = rows.where("name", ">", cursorKey(cursor));
    return toPage(await rows.execute(), limit, ({ name }) => name, toRepository);
  }),

  endpoint(api.getRepository, async ({ params: { name } }, { db }) => {
    const row = await db.selectFrom("repositories").selectAll().where("name", "=", name).executeTakeFirst();
    return toRepository(row ?? missing(name));
  }),

  endpoint(api.addRepository, async ({ body, actor }, { db, workflows }) => {
    const { name, url, branch = "main", team = "default" } = body;
    refuseHostile(url, branch);
    const row = await db.transaction().execute(async (trx) => {
      const id = randomUUID();
      const added = await trx
        .insertInto("repositories")
        .values({ id, name, url, branch, team, state: "syncing" })
        .onConflict((conflict) => conflict.column("name").doNothing())
        .returningAll()
        .executeTakeFirst();
      if (added === undefined) {
        throw new UserError(`there is a repository "${name}" already`, {
          code: "conflict",
          fix: "Choose another name, or remove that one first.",
        });
      }
      await workflows.start(trx, syncRepository, `repository.sync/${randomUUID()}`, { id });
      await record(trx, { actor, action: "repository.add", subject: name, after: audited(added) });
      await publish(trx, { kind: "repository.added", subject: id, data: { name } });
      return added;
    });
    workflows.wake();
    return toRepository(row);
  }),

  endpoint(api.syncRepository, async ({ params: { name }, actor }, { db, workflows }) => {
    const row = await db.transaction().execute(async (trx) => {
      const row = await trx
        .updateTable("repositories")
        .set({ state: "syncing" })
        .where("name", "=", name)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return missing(name);
      await workflows.start(trx, syncRepository, `repository.sync/${randomUUID()}`, { id: row.id });
      await record(trx, { actor, action: "repository.sync", subject: name });
      await publish(trx, { kind: "repository.syncing", subject: row.id, data: { name } });
      return row;
    });
    workflows.wake();
    return toRepository(row);
  }),

  endpoint(api.removeRepository, async ({ params: { name }, actor }, { db, cache }) => {
    const row = await db.transaction().execute(async (trx) => {
      const row = await trx
        .deleteFrom("repositories")
        .where("name", "=", name)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return missing(name);
      await record(trx, { actor, action: "repository.remove", subject: name, before: audited(row) });
      await publish(trx, { kind: "repository.removed", subject: row.id, data: { name } });
      return row;
    });
    await removeMirror(cache, row.id);
    return toRepository(row);
  }),
];

function missing(name: string): never {
  throw new UserError(`there is no repository "${name}"`, {
    code: "not-found",
    fix: "`kws server repository list` shows those there are.",
  });
}

function audited(row: Row): { url: string; branch: string; team: string } {
  const { url, branch, team } = toRepository(row);
  return { url, branch, team };
}

function toRepository(row: Row): api.Repository {
  return {
    id: row.id,
    name: row.name,
    // Whoever has put a password into it does not want it shown.
    url: row.url.replaceAll(/:\/\/[^/@\s]+@/g, "://"),
    branch: row.branch,
    team: row.team,
    state: row.state,
    services: row.services,
    createdAt: row.created_at.toISOString(),
    ...(row.commit === null ? {} : { commit: row.commit }),
    ...(row.problem === null ? {} : { problem: row.problem }),
    ...(row.synced_at === null ? {} : { syncedAt: row.synced_at.toISOString() }),
  };
}
