-- +goose Up

-- Archives of bundles that were written, by the SHA-256 of their list of files. The daily
-- root signs those since the root before it; audit_row is the row that tells of one.
CREATE TABLE archives (
  audit_row INTEGER PRIMARY KEY REFERENCES audit (id),
  sum       BLOB NOT NULL UNIQUE CHECK (length(sum) = 32)
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER archives_no_update BEFORE UPDATE ON archives
BEGIN SELECT RAISE(ABORT, 'what was archived is never changed'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER archives_no_delete BEFORE DELETE ON archives
BEGIN SELECT RAISE(ABORT, 'what was archived is never changed'); END;
-- +goose StatementEnd

-- Bills whose documents and evidence stay beyond their time, until an operator lets go.
CREATE TABLE holds (
  bill     INTEGER PRIMARY KEY REFERENCES bills (id),
  operator TEXT NOT NULL,
  reason   TEXT NOT NULL,
  at       INTEGER NOT NULL
) STRICT;

-- Bills whose document was deleted when its time was over. The hash stays, and the chain.
CREATE TABLE deletions (
  bill INTEGER PRIMARY KEY REFERENCES bills (id),
  at   INTEGER NOT NULL
) STRICT;
