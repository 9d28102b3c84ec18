-- Webhooks that forges send to, what they sent, and repositories that are asked because nobody tells of their pushes.

CREATE TABLE webhooks (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  forge text NOT NULL,
  -- The address of one repository, or of all below it with /* at its end: events of others are refused.
  scope text NOT NULL,
  -- Sealed; two while one replaces the other.
  secrets text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_deliveries (
  -- In the order in which they came.
  number bigint GENERATED ALWAYS AS IDENTITY,
  webhook uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  -- What is the same when the forge, or somebody else, sends it again.
  key text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  events jsonb NOT NULL,
  -- When all was begun that its events lead to.
  handled_at timestamptz,
  -- Why some of it could not be begun.
  problem text,
  PRIMARY KEY (webhook, key)
);
CREATE UNIQUE INDEX webhook_deliveries_number ON webhook_deliveries (webhook, number);
CREATE INDEX webhook_deliveries_received ON webhook_deliveries (received_at);

CREATE TABLE repository_polls (
  repository uuid PRIMARY KEY REFERENCES repositories ON DELETE CASCADE,
  -- Another one with every change: what waits for the next round of an older one ends.
  id uuid NOT NULL,
  every_seconds integer NOT NULL,
  -- Commits by ref; null before the first answer.
  refs jsonb,
  problem text,
  polled_at timestamptz
);
