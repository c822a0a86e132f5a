-- +goose Up

-- The newest row of the audit log that the witness knows of: each record says which rows
-- came with it, so that none is changed, put in or cut off beside the journal.
ALTER TABLE witness ADD COLUMN log INTEGER NOT NULL DEFAULT 0;

-- By a secret that the journal holds and the database does not: what completes the journal
-- after a crash was written by the node, and by nobody who can only write here.
ALTER TABLE witness_pending ADD COLUMN seal BLOB NOT NULL DEFAULT x'';

-- The same for what was read in the journal and is to be entered again.
ALTER TABLE quarantine ADD COLUMN seal BLOB NOT NULL DEFAULT x'';
