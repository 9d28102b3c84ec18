/** The tables as Kysely sees them. The truth is in migrations/. */
import type { Role, Scope } from "@kws/api/access";
import type { AuditEntry } from "@kws/api/audit";
import type { RepositoryService } from "@kws/api/repositories";
import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type { SignIn } from "../access/sign-in.ts";

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
    seq: Generated<string>;
    at: Date;
    actor: Json<AuditEntry["actor"]>;
    action: string;
    subject: string;
    why: string | null;
    before: ColumnType<unknown, string | null, never>;
    after: ColumnType<unknown, string | null, never>;
    previous: string;
    hash: string;
  };
  users: {
    subject: string;
    name: string;
    email: string | null;
    teams: string[];
    disabled: Generated<boolean>;
    created_at: Date;
    signed_in_at: Date;
  };
  bindings: {
    id: string;
    subject_kind: "user" | "team";
    subject_name: string;
    role: Role;
    scope: ColumnType<Scope, string, never>;
    created_at: Date;
  };
  tokens: {
    id: string;
    kind: "service" | "login" | "session";
    name: string;
    /** Null where the administrator's token made it. */
    owner: string | null;
    hash: Buffer;
    /** Null where it may do all that its owner may. */
    role: Role | null;
    scope: ColumnType<Scope | null, string | null, never>;
    created_at: Date;
    expires_at: Date;
    used_at: Date | null;
    revoked_at: Date | null;
  };
  sign_ins: {
    id: string;
    hash: Buffer;
    data: Json<SignIn>;
    /** Whose it is, by the address that began it. */
    address: string;
    /** A device may ask again from then. */
    next_poll_at: Date | null;
    expires_at: Date;
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
