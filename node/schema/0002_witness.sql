-- +goose Up

-- Where this database stands in the witness, the journal outside it. frozen says why
-- nothing may change; '' if it may.
CREATE TABLE witness (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  node       TEXT NOT NULL,
  started    INTEGER NOT NULL CHECK (started IN (0, 1)),
  generation INTEGER NOT NULL,
  hash       BLOB NOT NULL CHECK (length(hash) = 32),
  frozen     TEXT NOT NULL DEFAULT ''
) STRICT;

-- Records that may not be on the disk of the witness yet: a crash between the commit and
-- the fsync of the journal is mended from here.
CREATE TABLE witness_pending (
  generation INTEGER PRIMARY KEY,
  line       BLOB NOT NULL
) STRICT;

-- What the witness knows and this database, an older one, does not: entered again in this
-- order. While a bill has a row here, nothing else changes it.
CREATE TABLE quarantine (
  generation    INTEGER PRIMARY KEY,
  document_hash BLOB NOT NULL CHECK (length(document_hash) = 32),
  line          BLOB NOT NULL,
  problem       TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX quarantine_of_bill ON quarantine (document_hash);

-- Operators who say that a bill (or, NULL, everything) may be freed without the witness.
-- The second one, another, does it. Kept for ever.
CREATE TABLE releases (
  id            INTEGER PRIMARY KEY,
  document_hash BLOB CHECK (length(document_hash) = 32),
  operator      TEXT NOT NULL,
  reason        TEXT NOT NULL,
  evidence      BLOB NOT NULL,
  at            INTEGER NOT NULL,
  done_at       INTEGER
) STRICT;
