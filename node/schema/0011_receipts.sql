-- +goose Up

-- Receipts in the order in which they were given, with an index beside them: a row that lands
-- at the random place of a hash takes a page of its own along, which in a large database is
-- read from the disk before and written back after. Of an index a page holds a hundred.
CREATE TABLE receipts_given (
  envelope_hash BLOB NOT NULL PRIMARY KEY CHECK (length(envelope_hash) = 32),
  bill          INTEGER NOT NULL REFERENCES bills (id),
  idx           INTEGER NOT NULL,
  peer          TEXT NOT NULL,
  request_sum   BLOB NOT NULL CHECK (length(request_sum) = 32),
  receipt       TEXT NOT NULL,
  at            INTEGER NOT NULL
) STRICT;
INSERT INTO receipts_given SELECT envelope_hash, bill, idx, peer, request_sum, receipt, at FROM receipts ORDER BY at, bill, idx;
DROP TABLE receipts;
ALTER TABLE receipts_given RENAME TO receipts;
