-- +goose Up

-- Orders of local users that came with an Idempotency-Key: the same key and the same
-- request have the same outcome for at least 30 days.
CREATE TABLE orders (
  user        TEXT NOT NULL,
  key         TEXT NOT NULL,
  request_sum BLOB NOT NULL CHECK (length(request_sum) = 32),
  outcome     TEXT NOT NULL,
  at          INTEGER NOT NULL,
  PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_of_age ON orders (at);

-- The newest attempts of each transfer, and what the peer answered.
CREATE TABLE attempts (
  transfer INTEGER NOT NULL REFERENCES transfers (seq),
  n        INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  answer   TEXT NOT NULL,
  PRIMARY KEY (transfer, n)
) STRICT, WITHOUT ROWID;

-- Blocks of peers that were refused without a signature: the newest, bounded in number
-- and bytes. Their senders wait.
CREATE TABLE refused (
  id            INTEGER PRIMARY KEY,
  peer          TEXT NOT NULL,
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  envelope_hash BLOB NOT NULL CHECK (length(envelope_hash) = 32),
  document_hash BLOB NOT NULL CHECK (length(document_hash) = 32),
  refusal       TEXT NOT NULL,
  body          BLOB NOT NULL,
  size          INTEGER NOT NULL,
  times         INTEGER NOT NULL,
  first_at      INTEGER NOT NULL,
  last_at       INTEGER NOT NULL,
  UNIQUE (peer, request_sum)
) STRICT;

-- What two operators decide where no signature does: one proposes, another confirms.
CREATE TABLE proposals (
  id           INTEGER PRIMARY KEY,
  kind         TEXT NOT NULL CHECK (kind IN ('reject', 'resolve')),
  subject      TEXT NOT NULL,
  outcome      TEXT NOT NULL CHECK (outcome IN ('reject', 'away', 'held')),
  reason       TEXT NOT NULL,
  evidence     BLOB,
  evidence_sum BLOB NOT NULL CHECK (length(evidence_sum) = 32),
  proposed_by  TEXT NOT NULL,
  proposed_at  INTEGER NOT NULL,
  withdrawn_at INTEGER,
  confirmed_by TEXT CHECK (confirmed_by <> proposed_by),
  confirmed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX proposals_one_open ON proposals (kind, subject) WHERE confirmed_by IS NULL AND withdrawn_at IS NULL;

-- +goose StatementBegin
CREATE TRIGGER proposals_stay BEFORE DELETE ON proposals BEGIN
  SELECT raise(ABORT, 'what operators decided is kept for ever');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER proposals_end BEFORE UPDATE ON proposals
  WHEN OLD.confirmed_by IS NOT NULL OR OLD.withdrawn_at IS NOT NULL OR NEW.kind <> OLD.kind OR NEW.subject <> OLD.subject
    OR NEW.outcome <> OLD.outcome OR NEW.reason <> OLD.reason OR NEW.evidence IS NOT OLD.evidence
    OR NEW.evidence_sum <> OLD.evidence_sum OR NEW.proposed_by <> OLD.proposed_by OR NEW.proposed_at <> OLD.proposed_at BEGIN
  SELECT raise(ABORT, 'what operators decided is never changed');
END;
-- +goose StatementEnd

-- Signed answers that came after operators had settled their transfer. They move nothing.
CREATE TABLE late_answers (
  id          INTEGER PRIMARY KEY,
  transfer    INTEGER NOT NULL REFERENCES transfers (seq),
  answer      TEXT NOT NULL,
  contradicts INTEGER NOT NULL CHECK (contradicts IN (0, 1)),
  at          INTEGER NOT NULL
) STRICT;
