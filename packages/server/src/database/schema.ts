/** The tables as Kysely sees them. The truth is in migrations/. */
import type { RepositoryService } from "@kws/api/repositories";
import type { ColumnType, Generated, JSONColumnType } from "kysely";

type Json<T extends object> = JSONColumnType<T>;
/** Set by the database. */
type Defaulted = ColumnType<Date, Date | undefined, Date>;

export interface Tables {
  events: {
    id: Generated<string>;
    at: Defaulted;
    kind: string;
    subject: string;
    data: Json<Record<string, unknown>>;
  };
  audit: {
    id: Generated<string>;
    at: Defaulted;
    actor: string;
    action: string;
    subject: string;
    why: string | null;
    before: ColumnType<unknown, string | null, never>;
    after: ColumnType<unknown, string | null, never>;
  };
  servers: { id: string; beats: Generated<string>; started_at: Defaulted };
  outbox: { id: string; workflow: string; input: ColumnType<unknown, string, never>; at: Defaulted };
  repositories: {
    id: string;
    name: string;
    url: string;
    branch: string;
    team: string;
    state: "syncing" | "synced" | "failed";
    commit: string | null;
    services: ColumnType<RepositoryService[], string | undefined, string>;
    problem: string | null;
    created_at: Defaulted;
    synced_at: Date | null;
  };
}
