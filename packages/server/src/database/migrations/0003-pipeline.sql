-- Runs of pipelines. `plan` has the jobs as they were planned.
CREATE TABLE runs (
  id text PRIMARY KEY,
  -- In the order in which they were asked for.
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  repository_id uuid NOT NULL,
  repository text NOT NULL,
  service text NOT NULL,
  commit text NOT NULL,
  branch text,
  tag text,
  event text NOT NULL,
  -- Below the service's folder; null where everything counts as changed.
  changed jsonb,
  team text NOT NULL,
  requested_by text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'superseded')),
  -- The state that it is to end in: `cancelled` or `superseded`.
  ending text CHECK (ending IN ('cancelled', 'superseded')),
  problem text,
  retry_of text REFERENCES runs (id) ON DELETE SET NULL,
  plan jsonb NOT NULL,
  -- What is taken from the run before, by job, where this one is another try of it.
  kept jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz
);
CREATE INDEX runs_active ON runs (team, number) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX runs_branch ON runs (repository_id, service, branch, number);

CREATE TABLE run_jobs (
  run text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  job text NOT NULL,
  position integer NOT NULL,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'waiting', 'running', 'passed', 'failed', 'skipped', 'blocked')),
  why text,
  attempts integer NOT NULL DEFAULT 0,
  started_at timestamptz,
  duration_ms double precision,
  result jsonb,
  PRIMARY KEY (run, job)
);

-- Who allowed or refused a job with `approval`.
CREATE TABLE approvals (
  run text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  job text NOT NULL,
  approved boolean NOT NULL,
  by text NOT NULL,
  why text,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run, job)
);

CREATE TABLE test_results (
  run text NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  job text NOT NULL,
  service text NOT NULL,
  test text NOT NULL,
  -- The fingerprint of all that was tested.
  content text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('passed', 'failed')),
  at timestamptz NOT NULL
);
CREATE INDEX test_results_service ON test_results (service, test, content);
CREATE INDEX test_results_run ON test_results (run);

-- Tests whose failure does not fail a run, beside those that kws.yaml names.
CREATE TABLE quarantine (
  service text NOT NULL,
  test text NOT NULL,
  by text NOT NULL,
  why text,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (service, test)
);

-- A run's events are read from its first one on.
CREATE INDEX events_subject ON events (subject, id);
