-- Live events, in the order in which they were committed: whoever writes one holds a lock until then.
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL,
  subject text NOT NULL,
  data jsonb NOT NULL
);
CREATE INDEX events_at ON events (at);

-- The servers on this database. One that no longer counts up has ended, and others take over its work.
CREATE TABLE servers (
  id uuid PRIMARY KEY,
  beats bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE repositories (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  url text NOT NULL,
  branch text NOT NULL,
  team text NOT NULL,
  state text NOT NULL CHECK (state IN ('syncing', 'synced', 'failed')),
  commit text,
  services jsonb NOT NULL DEFAULT '[]',
  problem text,
  created_at timestamptz NOT NULL DEFAULT now(),
  synced_at timestamptz
);

-- Workflows that are to be started: written in the transaction of what they are for.
CREATE TABLE outbox (
  id text PRIMARY KEY,
  workflow text NOT NULL,
  input jsonb NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
