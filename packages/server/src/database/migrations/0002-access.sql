-- People, as the identity provider last described them.
CREATE TABLE users (
  subject text PRIMARY KEY,
  name text NOT NULL,
  email text,
  teams text[] NOT NULL,
  disabled boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  signed_in_at timestamptz NOT NULL
);

-- Roles of users and teams, everywhere or within a scope. Whom it is for may not have signed in yet.
CREATE TABLE bindings (
  id uuid PRIMARY KEY,
  subject_kind text NOT NULL CHECK (subject_kind IN ('user', 'team')),
  subject_name text NOT NULL,
  role text NOT NULL,
  scope jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  UNIQUE (subject_kind, subject_name, role, scope)
);

-- The SHA-256 of what the owner has. A service token has a role, and never more than its owner; a login or a session is its owner.
CREATE TABLE tokens (
  id text PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('service', 'login', 'session')),
  name text NOT NULL,
  owner text REFERENCES users,
  hash bytea NOT NULL,
  role text,
  scope jsonb,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  revoked_at timestamptz,
  CHECK ((kind = 'service') = (role IS NOT NULL AND scope IS NOT NULL)),
  CHECK (kind = 'service' OR owner IS NOT NULL)
);
CREATE INDEX tokens_owner ON tokens (owner);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

-- Sign-ins that have begun. Each ends once, and whoever ends it shows the secret that it was begun with.
CREATE TABLE sign_ins (
  id text PRIMARY KEY,
  hash bytea NOT NULL,
  data jsonb NOT NULL,
  address text NOT NULL,
  next_poll_at timestamptz,
  expires_at timestamptz NOT NULL
);
CREATE INDEX sign_ins_expires_at ON sign_ins (expires_at);
CREATE INDEX sign_ins_address ON sign_ins (address);

-- Who did what. Each entry's hash covers the one before, so what was changed behind the database's back is found.
CREATE TABLE audit (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz(3) NOT NULL,
  actor jsonb NOT NULL,
  action text NOT NULL,
  subject text NOT NULL,
  why text,
  before jsonb,
  after jsonb,
  previous text NOT NULL UNIQUE,
  hash text NOT NULL UNIQUE
);
CREATE INDEX audit_subject ON audit (subject, seq);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'entries of the audit log are only ever added';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
