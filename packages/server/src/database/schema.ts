/** The tables as Kysely sees them. The truth is in migrations/. */
import type { Role, Scope } from "@kws/api/access";
import type { AuditEntry } from "@kws/api/audit";
import type { RepositoryService } from "@kws/api/repositories";
import type { NotificationState, Target } from "@kws/api/notifications";
import type { ForgeName } from "@kws/api/webhooks";
import type { JobState, RunState } from "@kws/api/runs";
import type { JobResult } from "@kws/platform/pipeline/job";
import type { Job } from "@kws/platform/pipeline/plan";
import type { PipelineEvent } from "@kws/platform/pipeline/when";
import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type { SignIn } from "../access/sign-in.ts";
import type { ForgeEvent } from "../webhooks/in/event.ts";
import type { Refs } from "../webhooks/in/poll.ts";

type Json<T extends object> = JSONColumnType<T>;
/** Set by the database. */
type Defaulted = ColumnType<Date, Date | undefined, Date>;

/** What a run takes from one before it. */
export interface KeptResult {
  /** The run that did it. */
  run: string;
  result: JobResult;
}

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
  webhooks: {
    id: string;
    name: string;
    forge: ForgeName;
    scope: string;
    secrets: string[];
    created_at: Defaulted;
  };
  webhook_deliveries: {
    number: Generated<string>;
    webhook: string;
    key: string;
    received_at: Defaulted;
    events: Json<ForgeEvent[]>;
    handled_at: Date | null;
    problem: string | null;
  };
  repository_polls: {
    repository: string;
    id: string;
    every_seconds: number;
    refs: ColumnType<Refs | null, string | null, string | null>;
    problem: string | null;
    polled_at: Date | null;
  };
  notification_channels: {
    id: string;
    name: string;
    kind: Target["kind"];
    target: string;
    template: string;
    types: string[];
    created_at: Defaulted;
  };
  notifications: {
    number: Generated<string>;
    channel: string;
    id: string;
    type: string;
    state: Generated<NotificationState>;
    attempts: Generated<number>;
    reason: string | null;
    created_at: Defaulted;
    ended_at: Date | null;
  };
  runs: {
    id: string;
    number: Generated<string>;
    repository_id: string;
    repository: string;
    service: string;
    commit: string;
    branch: string | null;
    tag: string | null;
    event: PipelineEvent;
    changed: ColumnType<string[] | null, string | null, never>;
    team: string;
    requested_by: string;
    state: RunState;
    ending: "cancelled" | "superseded" | null;
    problem: string | null;
    retry_of: string | null;
    plan: Json<Job[]>;
    kept: ColumnType<KeptResult[], string | undefined, never>;
    created_at: Defaulted;
    started_at: Date | null;
    ended_at: Date | null;
  };
  run_jobs: {
    run: string;
    job: string;
    position: number;
    title: string;
    state: JobState;
    why: string | null;
    attempts: Generated<number>;
    started_at: Date | null;
    duration_ms: number | null;
    result: ColumnType<JobResult | null, string | null, string | null>;
  };
  approvals: {
    run: string;
    job: string;
    approved: boolean;
    by: string;
    why: string | null;
    at: Defaulted;
  };
  test_results: {
    run: string;
    job: string;
    service: string;
    test: string;
    content: string;
    outcome: "passed" | "failed";
    at: Date;
  };
  quarantine: { service: string; test: string; by: string; why: string | null; at: Defaulted };
}
