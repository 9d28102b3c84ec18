-- Webhooks that forges send to, what they sent, and the channels that people are told through.

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
  webhook uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  -- What is the same when the forge, or somebody else, sends it again.
  key text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  events jsonb NOT NULL,
  PRIMARY KEY (webhook, key)
);

CREATE INDEX webhook_deliveries_received ON webhook_deliveries (webhook, received_at);

CREATE TABLE notification_channels (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  -- slack, webhook or email.
  kind text NOT NULL,
  -- Sealed: the address, and the key that messages are signed with. Addresses of incoming webhooks are secrets themselves.
  target text NOT NULL,
  template text NOT NULL,
  -- Which types of messages it gets, with * for any part, such as run.*
  types text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
