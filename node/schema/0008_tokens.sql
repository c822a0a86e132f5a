-- +goose Up

-- Tokens that may be used once and were: whose it was, and the SHA-256 of its name. A row
-- outlives the token, and the process.
CREATE TABLE spent_tokens (
  owner TEXT NOT NULL,
  id    BLOB NOT NULL CHECK (length(id) = 32),
  until INTEGER NOT NULL,
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_tokens_of_age ON spent_tokens (until);

-- Systems of customers, which act for local users by tokens that they sign themselves.
CREATE TABLE systems (
  name       TEXT PRIMARY KEY,
  keys       TEXT NOT NULL, -- a JWK set
  disabled   INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT;

-- For whom: the customer as the system names it, and the local user that it is here.
CREATE TABLE system_customers (
  system   TEXT NOT NULL REFERENCES systems (name),
  customer TEXT NOT NULL,
  local_id TEXT NOT NULL REFERENCES users (local_id),
  PRIMARY KEY (system, customer)
) STRICT, WITHOUT ROWID;

-- Four eyes: orders of a user that has approvers wait for one of them.
CREATE TABLE approvers (
  local_id TEXT NOT NULL REFERENCES users (local_id),
  approver TEXT NOT NULL REFERENCES users (local_id) CHECK (approver <> local_id),
  PRIMARY KEY (local_id, approver)
) STRICT, WITHOUT ROWID;

-- The orders that wait, and what became of them. version is that of the bill when the
-- order was given: what is approved is what was seen.
CREATE TABLE approvals (
  seq           INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE,
  user          TEXT NOT NULL,
  kind          TEXT NOT NULL CHECK (kind IN ('issue', 'move', 'honour', 'decline')),
  document_hash BLOB NOT NULL CHECK (length(document_hash) = 32),
  version       INTEGER NOT NULL,
  content       TEXT NOT NULL,
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  key           TEXT NOT NULL,
  key_sum       BLOB NOT NULL CHECK (length(key_sum) = 32),
  act           TEXT NOT NULL,
  state         TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
  asked_at      INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  decided_by    TEXT CHECK (state <> 'approved' OR decided_by <> user),
  decided_at    INTEGER,
  reason        TEXT NOT NULL DEFAULT '',
  outcome       TEXT NOT NULL DEFAULT '',
  CHECK ((state = 'pending') = (decided_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX approvals_one_pending ON approvals (user, request_sum) WHERE state = 'pending';
CREATE UNIQUE INDEX approvals_one_key ON approvals (user, key) WHERE key <> '';

-- +goose StatementBegin
CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals BEGIN
  SELECT raise(ABORT, 'what was approved is kept for ever');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER approvals_end BEFORE UPDATE ON approvals
  WHEN OLD.state <> 'pending' OR NEW.id <> OLD.id OR NEW.user <> OLD.user OR NEW.kind <> OLD.kind OR NEW.document_hash <> OLD.document_hash
    OR NEW.version <> OLD.version OR NEW.content <> OLD.content OR NEW.request_sum <> OLD.request_sum OR NEW.act <> OLD.act OR NEW.expires_at <> OLD.expires_at BEGIN
  SELECT raise(ABORT, 'what was approved is never changed');
END;
-- +goose StatementEnd
