/** Runs of pipelines on the server: what was asked for, how far it is, and what its steps said. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

export const runStates = [
  "queued",
  "running",
  "waiting",
  "succeeded",
  "failed",
  "cancelled",
  "superseded",
] as const;
export const RunState = Type.Enum([...runStates], {
  description: "`waiting`: for somebody to approve a step. `superseded`: by a newer one of the same branch.",
});
export type RunState = (typeof runStates)[number];

export const jobStates = ["pending", "waiting", "running", "passed", "failed", "skipped", "blocked"] as const;
export const JobState = Type.Enum([...jobStates], {
  description: "`blocked`: something that it needs failed.",
});
export type JobState = (typeof jobStates)[number];

export const Job = Type.Object({
  job: Type.String({ description: "The step's name, and for a matrix its place." }),
  title: Type.String(),
  needs: Type.Array(Type.String()),
  state: JobState,
  why: Type.Optional(Type.String({ description: "Why it did not pass, or was left out." })),
  attempts: Type.Integer(),
  startedAt: Type.Optional(Type.String()),
  durationMs: Type.Optional(Type.Number()),
  outputs: Type.Record(Type.String(), Type.String()),
  tests: Type.Optional(
    Type.Object({ passed: Type.Integer(), failed: Type.Integer(), skipped: Type.Integer() }),
  ),
});
export type Job = Static<typeof Job>;

export const Run = Type.Object({
  run: Type.String(),
  repository: Type.String(),
  service: Type.String(),
  commit: Type.String(),
  branch: Type.Optional(Type.String()),
  tag: Type.Optional(Type.String()),
  event: Type.String({ description: "What began it: push, tag, pull-request, schedule or manual." }),
  team: Type.String(),
  requestedBy: Type.String(),
  state: RunState,
  problem: Type.Optional(Type.String({ description: "What ended it, beside its steps." })),
  retryOf: Type.Optional(Type.String()),
  createdAt: Type.String(),
  startedAt: Type.Optional(Type.String()),
  endedAt: Type.Optional(Type.String()),
});
export type Run = Static<typeof Run>;

export const RunDetail = Type.Object({ ...Run.properties, jobs: Type.Array(Job) });
export type RunDetail = Static<typeof RunDetail>;

export const LogLine = Type.Object({
  line: Type.Integer({ description: "From 0." }),
  time: Type.String(),
  text: Type.String(),
});
export type LogLine = Static<typeof LogLine>;

/** The last message of a stream says that there will be no more. */
export const LogMessage = Type.Union([LogLine, Type.Object({ ended: Type.Literal(true) })]);
export type LogMessage = Static<typeof LogMessage>;

export const FlakyTest = Type.Object({
  service: Type.String(),
  test: Type.String(),
  failed: Type.Integer({ description: "Of `runs` with the same content, so many failed." }),
  runs: Type.Integer(),
  lastFailed: Type.String(),
  quarantined: Type.Boolean(),
});
export type FlakyTest = Static<typeof FlakyTest>;

const RunName = Type.String({ pattern: "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" });
const JobName = Type.String({ pattern: "^[a-z0-9]([-.a-z0-9]{0,98}[a-z0-9])?$" });
const Ref = Type.String({ minLength: 1, maxLength: 250 });
const Why = Type.Optional(Type.String({ minLength: 1, maxLength: 1000 }));
const one = Type.Object({ run: RunName });
const ofJob = Type.Object({ run: RunName, job: JobName });
const strict = { additionalProperties: false };

export const startRuns = defineRoute({
  method: "POST",
  path: "/api/v1/runs",
  body: Type.Object(
    {
      repository: Type.String({ description: "As the server knows it." }),
      services: Type.Optional(
        Type.Array(Type.String(), { minItems: 1, description: "All of the repository unless given." }),
      ),
      branch: Type.Optional(Ref),
      tag: Type.Optional(Ref),
      commit: Type.Optional(
        Type.String({
          pattern: "^[0-9a-f]{7,64}$",
          description: "The newest of the branch or tag unless given.",
        }),
      ),
    },
    strict,
  ),
  response: Type.Object({ items: Type.Array(Run) }),
  status: 202,
  permission: "runs.start",
  scoped: true,
  summary: "Fetch a repository, and queue the pipelines of its services",
});

export const listRuns = defineRoute({
  method: "GET",
  path: "/api/v1/runs",
  query: Type.Object({
    ...pageQuery,
    repository: Type.Optional(Type.String()),
    service: Type.Optional(Type.String()),
    branch: Type.Optional(Type.String()),
    team: Type.Optional(Type.String()),
    state: Type.Optional(RunState),
  }),
  response: Page(Run),
  permission: "runs.read",
  summary: "Runs, the newest first",
});

export const getRun = defineRoute({
  method: "GET",
  path: "/api/v1/runs/:run",
  params: one,
  response: RunDetail,
  permission: "runs.read",
  summary: "One run with its steps",
});

export const cancelRun = defineRoute({
  method: "POST",
  path: "/api/v1/runs/:run/cancel",
  params: one,
  body: Type.Object({ why: Why }, strict),
  response: Run,
  status: 202,
  permission: "runs.cancel",
  scoped: true,
  summary: "End a run that is queued or at work, with all that it started",
});

export const retryRun = defineRoute({
  method: "POST",
  path: "/api/v1/runs/:run/retry",
  params: one,
  body: Type.Object(
    {
      from: Type.Optional(
        Type.String({
          description:
            "What passed and does not need this step is taken from the run before. Everything is done again unless given.",
        }),
      ),
    },
    strict,
  ),
  response: Run,
  status: 202,
  permission: "runs.start",
  scoped: true,
  summary: "Queue the same pipeline on the same commit again",
});

export const decideRun = defineRoute({
  method: "POST",
  path: "/api/v1/runs/:run/steps/:job/approval",
  params: ofJob,
  body: Type.Object({ approved: Type.Boolean(), why: Why }, strict),
  response: RunDetail,
  permission: "runs.approve",
  scoped: true,
  summary: "Let a step begin that waits for approval, or refuse it",
});

export const readRunLog = defineRoute({
  method: "GET",
  path: "/api/v1/runs/:run/steps/:job/log",
  params: ofJob,
  query: Type.Object({
    ...pageQuery,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000, description: "200 unless given." })),
    grep: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1000, description: "Only lines that hold this text." }),
    ),
  }),
  response: Page(LogLine),
  permission: "runs.read",
  summary: "What a step has said so far",
});

export const streamRunLog = defineRoute({
  method: "GET",
  path: "/api/v1/runs/:run/steps/:job/log/stream",
  params: ofJob,
  query: Type.Object({ grep: Type.Optional(Type.String({ minLength: 1, maxLength: 1000 })) }),
  response: LogMessage,
  stream: true,
  permission: "runs.read",
  summary: "What a step says, from its first line or the one after Last-Event-ID, until it has ended",
});

export const listFlaky = defineRoute({
  method: "GET",
  path: "/api/v1/flaky-tests",
  query: Type.Object({ ...pageQuery, service: Type.Optional(Type.String()) }),
  response: Page(FlakyTest),
  permission: "runs.read",
  summary: "Tests that passed and failed with the same content, and those in quarantine",
});

const ofTest = Type.Object({
  service: Type.String({ minLength: 1, maxLength: 100 }),
  test: Type.String({ minLength: 1, maxLength: 250 }),
});
export const QuarantinedTest = Type.Object({ service: Type.String(), test: Type.String() });

export const quarantineTest = defineRoute({
  method: "PUT",
  path: "/api/v1/quarantine/:service/:test",
  params: ofTest,
  body: Type.Object({ why: Why }, strict),
  response: QuarantinedTest,
  permission: "runs.approve",
  scoped: true,
  summary: "Let a test's failure not fail the runs of a service",
});

export const releaseTest = defineRoute({
  method: "DELETE",
  path: "/api/v1/quarantine/:service/:test",
  params: ofTest,
  response: QuarantinedTest,
  permission: "runs.approve",
  scoped: true,
  summary: "Let a test's failure count again",
});
