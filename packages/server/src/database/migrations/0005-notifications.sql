-- The channels that people and programs are told through, and what went into each.

CREATE TABLE notification_channels (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE,
  -- slack, webhook, email or status.
  kind text NOT NULL,
  -- Sealed: the address, the key that messages are signed with, the token of a forge. Addresses of incoming webhooks are secrets themselves.
  target text NOT NULL,
  template text NOT NULL,
  -- Which types of messages it gets, with * for any part, such as run.*
  types text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notifications (
  -- In the order in which they were made.
  number bigint GENERATED ALWAYS AS IDENTITY,
  channel uuid NOT NULL REFERENCES notification_channels ON DELETE CASCADE,
  -- The message's own; the same in every channel.
  id text NOT NULL,
  type text NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
  attempts integer NOT NULL DEFAULT 0,
  reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (channel, id)
);
CREATE UNIQUE INDEX notifications_number ON notifications (number);
CREATE INDEX notifications_created ON notifications (created_at);
