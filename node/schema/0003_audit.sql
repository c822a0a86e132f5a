-- +goose Up

-- The log is append only. Whoever can write to the file can drop the triggers; they are
-- against our own mistakes. Against others there are the hashes, and the roots.
-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
-- +goose StatementEnd

-- One signature a day over the log as it stood at the end of that day (UTC). last is the
-- newest row that it speaks for.
CREATE TABLE audit_roots (
  last INTEGER PRIMARY KEY,
  day  TEXT NOT NULL UNIQUE,
  root TEXT NOT NULL,
  at   INTEGER NOT NULL
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER audit_roots_no_update BEFORE UPDATE ON audit_roots
BEGIN SELECT RAISE(ABORT, 'the roots of the audit log are append only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_roots_no_delete BEFORE DELETE ON audit_roots
BEGIN SELECT RAISE(ABORT, 'the roots of the audit log are append only'); END;
-- +goose StatementEnd

-- REPLACE deletes without asking the triggers.
-- +goose StatementBegin
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_roots_no_replace BEFORE INSERT ON audit_roots WHEN EXISTS (SELECT 1 FROM audit_roots WHERE last = NEW.last OR day = NEW.day)
BEGIN SELECT RAISE(ABORT, 'the roots of the audit log are append only'); END;
-- +goose StatementEnd
